"""rope: heads turned by the position of their row."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand, ContextFull
from bitexport_ref.ops.rope import rope

HEADS, HALF, POSITIONS = 3, 4, 9
RNG = np.random.default_rng(0)
COS, SIN = RNG.uniform(-1, 1, (2, POSITIONS, HALF)).astype(np.float32)


@pytest.mark.parametrize("past", [0, 4])
def test_every_step_is_rounded_once(past, plain, same_bits):
    f32 = plain.f32
    x = np.random.default_rng(past).standard_normal((2, 5, HEADS * 2 * HALF)).astype(np.float32)
    expected = np.empty_like(x)
    for b, t, head, i in np.ndindex(2, 5, HEADS, HALF):
        c, s = float(COS[past + t, i]), float(SIN[past + t, i])
        at = head * 2 * HALF + i
        low, high = float(x[b, t, at]), float(x[b, t, at + HALF])
        expected[b, t, at] = f32(f32(low * c) - f32(high * s))
        expected[b, t, at + HALF] = f32(f32(high * c) + f32(low * s))
    same_bits(rope(x, COS, SIN, np.array([past]), heads=HEADS), expected)


def test_a_position_beyond_the_tables_is_refused():
    x = np.zeros((1, 2, HEADS * 2 * HALF), np.float32)
    with pytest.raises(ContextFull, match="position 9 is not below the context of 9"):
        rope(x, COS, SIN, np.array([8]), heads=HEADS)


def test_columns_that_are_not_heads_are_refused():
    with pytest.raises(BadOperand, match="20 columns are not 3 heads of 8"):
        rope(np.zeros((1, 2, 20), np.float32), COS, SIN, np.array([0]), heads=HEADS)
