"""TernaryMatMul over p16 on every core returns the sums of its weights, in whatever passes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.kernels.looked_up import LookedUpLayout
from tests.kernels.patterns import MOST_K, Bytes, Integers, constant, every_byte, random_bytes

from bitexport.targets import Target

Check = Callable[[Target, str, str], list[list[str]]]


def unpack(tiles: Bytes) -> Integers:
    """Return the weights of (bands, tiles, 16) bytes: (bands, 8, 10 * tiles)."""
    bands, count, _ = tiles.shape
    left = tiles.reshape(bands, 2 * count, 8).transpose(0, 2, 1).astype(np.int64)
    weights = np.empty((*left.shape, 5), np.int64)
    for digit in range(4):
        weights[..., digit] = left % 3 - 1
        left = left // 3
    weights[..., 4] = left - 1
    return weights.reshape(bands, 8, 10 * count)


P16 = LookedUpLayout(
    rows=8,
    block=10,
    block_bytes=16,
    unpack=unpack,
    patterns={
        "minus": constant(0),
        "plus": constant(242),
        "random": lambda count: random_bytes(2, count),
        "bytes": every_byte,
        "highest": constant(255),
    },
)


def test_every_core_returns_the_sums(check: Check, target: Target, core: str) -> None:
    P16.judge(check(target, core, "gemv_s32_s8_p16"), target.expected_isas(core))


def test_nothing_is_written_outside_output_and_scratch(
    check: Check, target: Target, core: str
) -> None:
    for *case, _, damage in check(target, core, "gemv_s32_s8_p16"):
        assert damage == "0", case


def test_the_patterns_hold_what_their_names_say() -> None:
    assert (P16.weights_of("minus", 16, 20) == -1).all()
    assert (P16.weights_of("plus", 16, 20) == 1).all()
    assert set(np.unique(P16.weights_of("random", 16, 200))) == {-1, 0, 1, 2}
    assert P16.weights_of("highest", 1, 5).tolist() == [[-1, 0, 0, -1, 2]]


def test_one_byte_is_the_row_and_columns_that_the_format_says() -> None:
    packed = constant(121)(2 * 2 * 16)
    packed[2 * 16 + 16 + 8 + 3] = 121 + 27 - 3  # second band, columns 15 to 19 of row 3
    found = unpack(packed.reshape(2, 2, 16))
    assert np.argwhere(found == 1).tolist() == [[1, 3, 18]]
    assert np.argwhere(found == -1).tolist() == [[1, 3, 16]]


@pytest.mark.parametrize("byte", range(243))
def test_a_byte_is_the_sum_that_the_format_gives(byte: int) -> None:
    weights = unpack(np.full((1, 1, 16), byte, np.uint8))[0, 0, :5]
    assert sum(3**i * (w + 1) for i, w in enumerate(weights.tolist())) == byte


@pytest.mark.parametrize("w", P16.patterns)
def test_the_largest_k_stays_inside_s32(w: str) -> None:
    weights = P16.weights_of(w, 8, MOST_K)
    assert np.abs(weights).sum(axis=1).max() * 128 < 2**31
