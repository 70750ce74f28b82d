"""rescale: sums back to f32, rounded three times."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand
from bitexport_ref.ops.rescale import rescale, rescale_int16


@pytest.mark.parametrize("scales", [1, 6])
def test_every_step_is_rounded_once(scales, plain, same_bits):
    f32 = plain.f32
    rng = np.random.default_rng(scales)
    sums = rng.integers(-(2**31), 2**31, (2, 2, 6)).astype(np.int32)
    scale = rng.uniform(1, 100, (2, 2, 1)).astype(np.float32)
    weight_scale = rng.uniform(0.1, 2, scales).astype(np.float32)
    expected = [
        [
            [
                f32(f32(total) * f32(float(weight_scale[j % scales]) / float(scale[b, t, 0])))
                for j, total in enumerate(sums[b, t].tolist())
            ]
            for t in range(2)
        ]
        for b in range(2)
    ]
    same_bits(rescale(sums, scale, weight_scale), expected)


def test_sums_above_2_to_the_24_are_rounded_to_even(same_bits):
    sums = np.array([[2**24 + 1, 2**24 + 3, -(2**24) - 1, 2**31 - 1]], np.int32)
    one = np.ones((1, 1), np.float32)
    same_bits(rescale(sums, one, one[0]), [[2**24, 2**24 + 4, -(2**24), 2**31]])


@pytest.mark.parametrize("scales", [1, 6])
def test_sums_of_high_codes_count_256_times(scales, plain, same_bits):
    f32 = plain.f32
    rng = np.random.default_rng(scales)
    high, low = rng.integers(-(2**31), 2**31, (2, 3, 6)).astype(np.int32)
    scale = rng.uniform(1, 10000, (3, 1)).astype(np.float32)
    weight_scale = rng.uniform(0.1, 2, scales).astype(np.float32)
    expected = [
        [
            f32(
                f32(f32(f32(int(high[t, j])) * 256) + f32(int(low[t, j])))
                * f32(float(weight_scale[j % scales]) / float(scale[t, 0]))
            )
            for j in range(6)
        ]
        for t in range(3)
    ]
    same_bits(rescale_int16(high, scale, weight_scale, low), expected)


def test_by_hand(same_bits):
    one = np.array([2], np.float32)
    found = rescale_int16(np.array([[3]], np.int32), one[None], one, np.array([[-5]], np.int32))
    same_bits(found, [[763]])


def test_sums_of_two_shapes_are_refused():
    one = np.ones((1, 1), np.float32)
    with pytest.raises(BadOperand, match=r"sums of high codes \(1, 2\) and of low ones \(1, 3\)"):
        rescale_int16(np.zeros((1, 2), np.int32), one, one[0], np.zeros((1, 3), np.int32))
