"""The time that text takes grows with its length, whatever it is: no case is quadratic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.text import cases
from tests.text.conftest import replay_on_host
from tests.text.tiny_tables import Tables, byte_tables, character_tables, normal_tables

from bitexport.toolchain.compile import Library

MEBIBYTE = 1 << 20
SECONDS = 60.0  # a quadratic case takes hours


@pytest.mark.parametrize("make", [byte_tables, character_tables, normal_tables])
@pytest.mark.parametrize(
    "unit",
    [" ", "a", "h", "\u0301", "\u0301\u0323", "<", "<s>", "<x> ", " <x>", "\u2581", "\u00e9", "1"],
    ids=ascii,
)
def test_a_mebibyte_of_anything_is_encoded_at_once(
    make: Callable[[], Tables], unit: str, libraries: Callable[..., Library], tmp_path: Path
) -> None:
    text = (unit * (MEBIBYTE // len(unit.encode()))).encode()
    asked = [cases.tokenizer(make().write(), len(make().tokens)), cases.encode(text)]
    _, said = replay_on_host(libraries, asked, tmp_path, SECONDS)
    assert said.startswith("encode 0 ")
