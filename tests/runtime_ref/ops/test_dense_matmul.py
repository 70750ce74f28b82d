"""dense_matmul: lane sums of rounded products, or exact integers."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand
from bitexport_ref.ops.dense_matmul import (
    dense_matmul_bf16,
    dense_matmul_f16,
    dense_matmul_f32,
    dense_matmul_q8,
)


def lane_product(plain, x, w):
    return [
        [
            plain.lane_sum([plain.f32(a * b) for a, b in zip(row, each, strict=True)])
            for each in w.tolist()
        ]
        for row in x.reshape(-1, x.shape[-1]).tolist()
    ]


@pytest.mark.parametrize(("n", "k"), [(1, 1), (5, 8), (7, 21), (30, 40)])
def test_f32_sums_have_eight_lanes(n, k, plain, same_bits):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((2, 3, k)).astype(np.float32)
    w = rng.standard_normal((n, k)).astype(np.float32)
    same_bits(dense_matmul_f32(x, w).reshape(6, n), lane_product(plain, x, w))


def test_bf16_weights_are_widened_first(plain, same_bits):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 20)).astype(np.float32)
    w = rng.standard_normal((4, 20)).astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    bits = (w >> 16).astype(np.uint16)
    same_bits(dense_matmul_bf16(x, bits), lane_product(plain, x, w.view(np.float32)))


def test_f16_weights_are_widened_first(plain, same_bits):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 20)).astype(np.float32)
    w = rng.standard_normal((4, 20)).astype(np.float16)
    w[0, :3] = [6e-8, -6e-5, 65504]
    same_bits(dense_matmul_f16(x, w), lane_product(plain, x, w))


def test_q8_sums_are_exact():
    rng = np.random.default_rng(0)
    q = rng.integers(-128, 128, (2, 3, 50)).astype(np.int8)
    w = rng.integers(-128, 128, (4, 50)).astype(np.int8)
    found = dense_matmul_q8(q, w)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, q.astype(np.int64) @ w.T.astype(np.int64))


def test_rows_of_another_width_are_refused():
    with pytest.raises(BadOperand, match="rows have 4 columns, the weight has 5"):
        dense_matmul_f32(np.zeros((1, 4), np.float32), np.zeros((2, 5), np.float32))
