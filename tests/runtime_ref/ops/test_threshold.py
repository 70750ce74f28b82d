"""threshold: how many levels a number reaches."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand, NotFinite
from bitexport_ref.ops.threshold import threshold, threshold_s32


def test_a_level_is_reached_at_itself():
    levels = np.array([[-1.5], [0], [0.25]], np.float32)
    below, above = np.nextafter(np.float32(0.25), np.float32([-1, 1]))
    x = np.array([[-2, -1.5, -0.0, 0, below, 0.25, above]], np.float32)
    found = threshold(x, levels, start=-1, step=1)
    assert found.dtype == np.int8
    assert found.tolist() == [[-1, 0, 1, 1, 1, 2, 2]]


def test_each_column_has_its_own_levels():
    levels = np.array([[0, 10, -(2**31)]], np.int32)
    x = np.array([[-1, 9, -(2**31)], [0, 10, 2**31 - 1]], np.int32)
    assert threshold_s32(x, levels, start=-1, step=2).tolist() == [[-1, -1, 1], [1, 1, 1]]


def test_a_level_of_infinity_is_never_reached():
    levels = np.array([[np.inf]], np.float32)
    largest = np.finfo(np.float32).max
    assert threshold(np.array([[largest]], np.float32), levels, start=0, step=1) == 0


def test_what_is_no_number_is_refused():
    with pytest.raises(NotFinite):
        threshold(np.array([[np.inf]], np.float32), np.zeros((1, 1), np.float32), start=0, step=1)


def test_codes_and_levels_must_fit():
    x = np.array([[5, 5]], np.int32)
    with pytest.raises(BadOperand, match="leave the codes of int8"):
        threshold_s32(x, np.zeros((1, 1), np.int32), start=127, step=1)
    with pytest.raises(BadOperand, match="for columns 2"):
        threshold_s32(x, np.zeros((1, 3), np.int32), start=0, step=1)
