"""rms_norm: rows divided by their root mean square."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand
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
    same_bits(rms_norm(x, weight, epsilon=f32(epsilon), heads=1), expected)


def test_a_row_of_zeros_stays_zero(same_bits):
    same_bits(
        rms_norm(np.zeros((1, 4), np.float32), np.ones(4, np.float32), epsilon=1e-5, heads=1),
        [[0] * 4],
    )


@pytest.mark.parametrize(("heads", "d"), [(2, 8), (3, 12), (4, 1)])
def test_every_head_is_a_row_of_its_own(heads, d, same_bits):
    rng = np.random.default_rng(heads)
    x = rng.standard_normal((2, 3, heads * d)).astype(np.float32)
    weight = rng.standard_normal(d).astype(np.float32)
    found = rms_norm(x, weight, epsilon=1e-6, heads=heads)
    for h in range(heads):
        columns = slice(h * d, (h + 1) * d)
        alone = rms_norm(x[..., columns], weight, epsilon=1e-6, heads=1)
        same_bits(found[..., columns], alone)


@pytest.mark.parametrize("heads", [0, 2, 5])
def test_columns_that_are_not_heads_are_refused(heads):
    with pytest.raises(BadOperand, match=f"12 columns are not {heads} heads of 4"):
        rms_norm(np.zeros((1, 12), np.float32), np.ones(4, np.float32), epsilon=1e-5, heads=heads)
