"""Fusions that keep the last row return that row, whatever rows the sums inside them have."""

from __future__ import annotations

from collections.abc import Callable

from bitexport.targets import Target

Check = Callable[[Target, str, str], list[list[str]]]

ALL_LAYOUTS, LOOKED_UP = {"1", "2", "4", "5", "6"}, {"4", "6"}
ROWS = ("1", "5")
CASES = {(layout, high, "0") for layout in ALL_LAYOUTS for high in ROWS}
CASES |= {
    (layout, high, low) for layout in ALL_LAYOUTS - LOOKED_UP for high in ROWS for low in ROWS
}


def test_the_last_row_is_kept(check: Check, target: Target, core: str) -> None:
    said = check(target, core, "kept_rows")
    assert list(dict.fromkeys(isa for isa, *_ in said)) == list(target.expected_isas(core))
    assert {tuple(case) for _, *case, _ in said} == CASES
    assert [line for line in said if line[-1] != "0"] == []
