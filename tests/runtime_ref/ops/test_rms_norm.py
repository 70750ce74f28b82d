"""rms_norm: rows divided by their root mean square."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitexport_ref.ops.rms_norm import rms_norm


@pytest.mark.parametrize("columns", [1, 8, 21, 100])
@pytest.mark.parametrize("epsilon", [1e-5, 1e-6])
def test_every_step_is_rounded_once(columns, epsilon, plain, same_bits):
    f32 = plain.f32
    rng = np.random.default_rng(columns)
    x = rng.standard_normal((2, 3, columns)).astype(np.float32)
    weight = rng.standard_normal(columns).astype(np.float32)

    def row(values):
        mean = f32(plain.lane_sum([f32(v * v) for v in values]) / columns)
        r = f32(1 / f32(math.sqrt(f32(mean + f32(epsilon)))))
        return [f32(f32(v * r) * w) for v, w in zip(values, weight.tolist(), strict=True)]

    expected = [[row(values.tolist()) for values in block] for block in x]
    same_bits(rms_norm(x, weight, epsilon=f32(epsilon)), expected)


def test_a_row_of_zeros_stays_zero(same_bits):
    same_bits(
        rms_norm(np.zeros((1, 4), np.float32), np.ones(4, np.float32), epsilon=1e-5), [[0] * 4]
    )
