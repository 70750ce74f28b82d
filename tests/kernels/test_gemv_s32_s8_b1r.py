"""Every variant of gemv_s32_s8_b1r on every core returns the bits of its definition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tests.kernels.patterns import (
    Bytes,
    Integers,
    PackedLayout,
    constant,
    every_byte,
    random_bytes,
)

from bitexport.targets import Target

Check = Callable[[Target, str, str], list[list[str]]]


def weight(packed: Bytes, field: int) -> Integers:
    """Return what bytes hold in a field: 1 is +1, 0 is -1."""
    return np.where(packed >> field & 1, 1, -1)


B1R = PackedLayout(
    tile=32,
    weight=weight,
    patterns={
        "minus": constant(0x00),
        "plus": constant(0xFF),
        "random": lambda count: random_bytes(2, count),
        "bytes": every_byte,
    },
)


def test_every_variant_returns_the_definition(check: Check, target: Target, core: str) -> None:
    B1R.judge(check(target, core, "gemv_s32_s8_b1r"), target.expected_isas(core))


def test_nothing_is_written_outside_the_output(check: Check, target: Target, core: str) -> None:
    for *case, _, damage in check(target, core, "gemv_s32_s8_b1r"):
        assert damage == "0", case


def test_the_patterns_hold_what_their_names_say() -> None:
    assert (B1R.weights_of("minus", 32, 32) == -1).all()
    assert (B1R.weights_of("plus", 32, 32) == 1).all()
    assert set(np.unique(B1R.weights_of("random", 32, 32))) == {-1, 1}


def test_one_bit_is_the_row_and_column_that_the_format_says() -> None:
    packed = np.zeros(4 * 16 * 2, np.uint8)
    packed[4 * 16 + 2 * 16 + 4 * 3 + 1] = 1 << 6  # second row of tiles, columns 8 to 11
    (row,), (column,) = np.nonzero(B1R.unpack(packed, 64, 16) == 1)
    assert (row, column) == (32 + 4 * 6 + 3, 8 + 1)
