"""patches: what a window sees, 0 where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand
from bitexport_ref.ops.patches import patches, patches_s8


def window(**changes):
    """Return a window of 2 x 2 over a picture of 3 x 3, but for what changes."""
    pairs = {"picture": (3, 3), "kernel_shape": (2, 2), "strides": (1, 1), "dilations": (1, 1)}
    return {**pairs, "pads": (0, 0, 0, 0), **changes}


X = np.arange(1, 10, dtype=np.int8).reshape(1, 9, 1)


def test_rows_are_the_places_of_the_window():
    assert patches_s8(X, **window()).tolist() == [
        [[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]]
    ]


def test_padding_is_0_on_every_side():
    found = patches_s8(X, **window(pads=(1, 0, 0, 1), strides=(2, 2)))
    assert found.tolist() == [[[0, 0, 1, 2], [0, 0, 3, 0], [4, 5, 7, 8], [6, 0, 9, 0]]]


def test_dilation_spreads_the_window():
    assert patches_s8(X, **window(dilations=(2, 2))).tolist() == [[[1, 3, 7, 9]]]


def test_channels_stay_together():
    x = np.arange(18, dtype=np.float32).reshape(1, 9, 2)
    assert patches(x, **window())[0, 0].tolist() == [0, 1, 2, 3, 6, 7, 8, 9]


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(BadOperand, match="a picture"):
        patches_s8(X, **window(picture=(3, 4)))
    with pytest.raises(BadOperand, match="does not fit"):
        patches_s8(X, **window(kernel_shape=(4, 1)))
