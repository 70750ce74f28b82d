"""softmax: exp of the distance to the largest, over the sum in eight lanes."""

from __future__ import annotations

import numpy as np

from bitexport_ref.numerics import exp, lane_sum
from bitexport_ref.ops.softmax import softmax


def test_it_is_the_formula(same_bits):
    x = np.random.default_rng(3).standard_normal((2, 3, 13)).astype(np.float32)
    e = exp(x - x.max(axis=-1, keepdims=True))
    same_bits(softmax(x), e / lane_sum(e)[..., None])


def test_by_hand(same_bits):
    same_bits(softmax(np.array([[7, 7, -300]], np.float32)), [[0.5, 0.5, 0]])
