"""depthwise_conv: each channel by its own window."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand
from bitexport_ref.ops.depthwise_conv import depthwise_conv
from bitexport_ref.ops.patches import patches_s8

WINDOW = {"picture": (4, 5), "kernel_shape": (3, 2), "strides": (1, 2), "pads": (1, 1, 1, 0),
          "dilations": (1, 2)}  # fmt: skip


def test_sums_are_those_of_the_patches():
    rng = np.random.default_rng(1)
    x = rng.integers(-128, 128, (1, 20, 7)).astype(np.int8)
    weight = rng.integers(-1, 2, (6, 7)).astype(np.int8)
    found = depthwise_conv(x, weight, **WINDOW)
    seen = patches_s8(x, **WINDOW).astype(np.int64).reshape(1, -1, 6, 7)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, (seen * weight).sum(axis=2))


def test_a_weight_of_another_shape_is_refused():
    x = np.zeros((1, 20, 7), np.int8)
    with pytest.raises(BadOperand, match="for 7 channels"):
        depthwise_conv(x, np.zeros((6, 6), np.int8), **WINDOW)
