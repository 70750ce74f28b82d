"""attend_int8: attention over codes, each position and head with a scale."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand
from bitexport_ref.ops.attend import attend
from bitexport_ref.ops.attend_int8 import attend_int8

D = 10
SHAPES = [(1, 0, 1, 1), (1, 20, 4, 2), (9, 0, 3, 1), (5, 7, 4, 4), (3, 2, 5, 2)]
"""Rows, positions before them, heads, heads of keys and values."""


def inputs(rows, past, heads, kv_heads):
    """Return a query, and codes and scales of keys and of values, of a batch of 2."""
    rng = np.random.default_rng(past)
    query = rng.standard_normal((2, rows, heads * D)).astype(np.float32)
    shape = (2, kv_heads, past + rows)
    key, value = rng.integers(-128, 128, (2, *shape, D)).astype(np.int8)
    key_scale, value_scale = rng.uniform(0.001, 0.03, (2, *shape, 1)).astype(np.float32)
    return query, key, key_scale, value, value_scale


def plain_attend(plain, operands, heads, kv_heads, scale):
    """Attend one row and one head after the other, of a batch of 1."""
    f32 = plain.f32
    query, key, key_scale, value, value_scale = (each.astype(np.float64) for each in operands)
    rows, positions = query.shape[0], key.shape[1]
    query = query.reshape(rows, heads, D)
    y = np.empty(query.shape, np.float32)
    for t, h in np.ndindex(rows, heads):
        g = h * kv_heads // heads
        seen = positions - rows + t + 1
        scores = []
        for j in range(seen):
            products = [f32(a * b) for a, b in zip(query[t, h], key[g, j], strict=True)]
            scores.append(f32(f32(plain.lane_sum(products) * key_scale[g, j, 0]) * scale))
        e = [plain.exp(f32(score - max(scores))) for score in scores]
        z = plain.lane_sum(e)
        weights = [f32(e[j] * value_scale[g, j, 0]) for j in range(seen)]
        for i in range(D):
            total = 0.0
            for j in range(seen):
                total = f32(total + f32(weights[j] * value[g, j, i]))
            y[t, h, i] = f32(total / z)
    return y.reshape(rows, heads * D)


@pytest.mark.parametrize(("rows", "past", "heads", "kv_heads"), SHAPES)
def test_every_step_is_rounded_once(rows, past, heads, kv_heads, plain, same_bits):
    operands = inputs(rows, past, heads, kv_heads)
    scale = plain.f32(D**-0.5)
    found = attend_int8(*operands, heads=heads, kv_heads=kv_heads, scale=scale)
    for b in range(2):
        one = [each[b] for each in operands]
        same_bits(found[b], plain_attend(plain, one, heads, kv_heads, scale))


def test_scales_that_are_powers_of_two_are_attention_over_the_products(same_bits):
    query, key, key_scale, value, value_scale = inputs(5, 7, 4, 2)
    key_scale[...] = 2.0**-7
    value_scale[...] = 2.0**-6
    operands = (query, key * key_scale, value * value_scale)
    found = attend_int8(query, key, key_scale, value, value_scale, heads=4, kv_heads=2, scale=0.3)
    same_bits(found, attend(*operands, heads=4, kv_heads=2, scale=0.3))


def test_a_row_does_not_depend_on_what_follows(same_bits):
    query, *rest = inputs(6, 3, 2, 2)
    whole = attend_int8(query, *rest, heads=2, kv_heads=2, scale=0.3)
    before = [each[:, :, :7] for each in rest]
    some = attend_int8(query[:, :4], *before, heads=2, kv_heads=2, scale=0.3)
    same_bits(some, whole[:, :4])


def test_scales_that_do_not_fit_are_refused():
    query, key, key_scale, value, value_scale = inputs(1, 3, 2, 2)
    with pytest.raises(BadOperand, match="do not fit"):
        attend_int8(
            query, key, key_scale[:, :1], value, value_scale, heads=2, kv_heads=2, scale=1.0
        )
