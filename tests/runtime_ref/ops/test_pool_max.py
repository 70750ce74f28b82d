"""pool_max: padding is no number."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand
from bitexport_ref.ops.pool_max import pool_max, pool_max_s8

WINDOW = {"picture": (2, 3), "kernel_shape": (2, 2), "strides": (1, 1), "pads": (1, 0, 0, 1),
          "dilations": (1, 1)}  # fmt: skip


def test_the_largest_counts_and_padding_does_not():
    x = np.array([[[-5], [-3], [-9], [-1], [-2], [-8]]], np.int8)
    found = pool_max_s8(x, **WINDOW)
    assert (found.dtype, found[0, :, 0].tolist()) == (np.int8, [-3, -3, -9, -1, -2, -8])


def test_of_equals_the_first_stays(same_bits):
    x = np.array([[[0.0], [-0.0], [1], [-1], [-1], [2]]], np.float32)
    same_bits(pool_max(x, **WINDOW)[0, :, 0], [0.0, 1, 1, 0.0, 2, 2])
    same_bits(pool_max(-x, **WINDOW)[0, :2, 0], [-0.0, 0.0])


def test_a_window_of_padding_alone_is_refused():
    with pytest.raises(BadOperand, match="nothing but padding"):
        pool_max_s8(np.zeros((1, 6, 1), np.int8), **WINDOW | {"pads": (2, 0, 0, 0)})
