"""A token costs what was promised, no more than its bar, and README says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.bench.figures import compiler_version
from tests.bench.tokens import (
    CONTEXT,
    MARKED,
    PLACES,
    README,
    REWRITE,
    SHAPES,
    Place,
    compilers,
    count_place,
    promised,
    readme_table,
    weights_of,
)

from bitexport.targets import find_target

TOLERANCE = 0.02


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where checkpoints and bundles of all places lie."""
    return tmp_path_factory.mktemp("tokens")


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.key.replace(" ", "-"))
def test_a_token_costs_what_was_promised(place: Place, folder: Path) -> None:
    target = find_target(place.target)
    if (version := compiler_version(target)) != compilers()[target.name]:
        pytest.skip(f"optional: the counts are of GCC {compilers()[target.name]}, not {version}")
    count = count_place(place, folder)
    (token,) = count.tokens
    assert count.ternary_weights == weights_of(SHAPES[place.model])
    assert count.isa == target.expected_isas(place.core)[-1]
    assert token.instructions == pytest.approx(
        promised()[place.key][str(CONTEXT)], rel=TOLERANCE
    ), f"a regression to mend, or a progress to record: {REWRITE}"


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.key.replace(" ", "-"))
def test_the_promise_holds_the_bar(place: Place) -> None:
    cost = promised()[place.key][str(CONTEXT)] / weights_of(SHAPES[place.model])
    assert cost <= place.bar < place.peer


def test_readme_shows_the_counts() -> None:
    marked = MARKED.search(README.read_text(encoding="utf-8"))
    assert marked, "README has lost the marks around its table of tokens"
    assert marked[2] == readme_table() + "\n", REWRITE
