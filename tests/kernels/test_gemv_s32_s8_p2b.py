"""TernaryMatMul over p2b on every core returns the sums of its weights, in whatever passes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tests.kernels.looked_up import LookedUpLayout, in_turn
from tests.kernels.patterns import Bytes, Integers, constant, every_byte, random_bytes

from bitexport.targets import Target

Check = Callable[[Target, str, str], list[list[str]]]


def unpack(blocks: Bytes) -> Integers:
    """Return the weights of (bands, blocks, 96) bytes: (bands, 16, 24 * blocks)."""
    bands, count, _ = blocks.shape
    tiles = blocks.reshape(bands, 2 * count, 3, 16).astype(np.int64)
    weights = np.empty((bands, 16, 2 * count, 12), np.int64)
    for group in range(4):
        if group == 2:
            index = tiles[:, :, 2]
        elif group == 3:
            index = tiles[:, :, 1] // 64 * 8 + tiles[:, :, 0] // 32
        else:
            index = tiles[:, :, group] % 32
        for i in range(3):
            w = np.where(index > 26, 0, index // 3**i % 3 - 1)
            weights[:, :, :, 3 * group + i] = w.transpose(0, 2, 1)
    return weights


P2B = LookedUpLayout(
    rows=16,
    block=24,
    block_bytes=96,
    unpack=unpack,
    patterns={
        "minus": constant(0x00),
        "plus": in_turn((0x5A, 0xDA, 0x1A), 16),
        "random": lambda count: random_bytes(2, count),
        "bytes": every_byte,
    },
)


def test_every_core_returns_the_sums(check: Check, target: Target, core: str) -> None:
    P2B.judge(check(target, core, "gemv_s32_s8_p2b"), target.expected_isas(core))


def test_nothing_is_written_outside_output_and_scratch(
    check: Check, target: Target, core: str
) -> None:
    for *case, _, damage in check(target, core, "gemv_s32_s8_p2b"):
        assert damage == "0", case


def test_the_patterns_hold_what_their_names_say() -> None:
    assert (P2B.weights_of("minus", 32, 48) == -1).all()
    assert (P2B.weights_of("plus", 32, 48) == 1).all()
    assert set(np.unique(P2B.weights_of("random", 32, 48))) == {-1, 0, 1}


def test_one_index_is_the_row_and_columns_that_the_format_says() -> None:
    packed = in_turn((0xAD, 0x4D, 0x0D), 16)(2 * 2 * 96)  # all zeros: index 13
    packed[2 * 96 + 48 + 16 + 5] = 0x0D | 3 << 6  # second band, columns 12 to 23: index 29 of row 5
    assert not unpack(packed.reshape(2, 2, 96)).any()
    packed[2 * 96 + 48 + 5] = 0x0D | 2 << 5  # index 26
    found = np.argwhere(unpack(packed.reshape(2, 2, 96)).reshape(2, 16, -1) == 1)
    assert found.tolist() == [[1, 5, 21], [1, 5, 22], [1, 5, 23]]
