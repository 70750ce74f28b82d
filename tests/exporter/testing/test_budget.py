"""Budgets are read as people write them; what means nothing is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from bitexport.errors import TextError
from bitexport.testing.budget import read_amount, read_budget


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (0, 0), (350_000_000, 350_000_000), ("350 M", 350_000_000), ("1.5k", 1500),
        ("40 MB", 40_000_000), ("512 KiB", 524_288), ("0.1 GB", 100_000_000), ("7", 7),
        ("2 MiB", 2_097_152), ("0.3 kB", 300),
    ],
)  # fmt: skip
def test_an_amount_is_exact(said: object, means: int) -> None:
    assert read_amount("arena", said) == means


@pytest.mark.parametrize("said", ["", "350 m", "-1", -1, True, None, 1.5, "1e6", "40 KB", "4 0"])
def test_what_is_no_amount_is_refused(said: object) -> None:
    with pytest.raises(TextError, match="`arena` of a budget is") as refused:
        read_amount("arena", said)
    assert '"40 MB"' in str(refused.value.hint)


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ({"arenas": 1}, "a budget has no `arenas`"),
        ({}, "a budget says arena or instructions_per_token"),
        ({"behind": 4}, "a budget says arena or instructions_per_token"),
        ({"arena": 1, "chunk": "4 k"}, "`chunk` of a budget is `'4 k'`"),
    ],
)
def test_a_budget_that_means_nothing_is_refused(said: dict[str, Any], names: str) -> None:
    with pytest.raises(TextError, match=names):
        read_budget(said)
