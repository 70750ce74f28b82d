"""quantize_fixed: clipped, then rounded half to even."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import NotFinite
from bitexport_ref.ops.quantize_fixed import quantize_fixed


def test_halves_go_to_the_even_code():
    x = np.array([[-1.25, -0.75, -0.25, 0.25, 0.75, 1.25]], np.float32)
    found = quantize_fixed(x, scale=0.5, least=-8, most=7)
    assert found.dtype == np.int8
    assert found.tolist() == [[-2, -2, 0, 0, 2, 2]]


def test_what_is_outside_gets_the_last_code():
    x = np.array([[-3e38, -5, 5, 3e38, 0.0, -0.0]], np.float32)
    assert quantize_fixed(x, scale=1e-3, least=-3, most=2).tolist() == [[-3, -3, 2, 2, 0, 0]]


def test_the_quotient_is_rounded_to_f32():
    x, scale = np.float32(0.35), np.float32(0.1)
    assert quantize_fixed(x[None, None], scale=float(scale), least=0, most=9) == np.rint(x / scale)


def test_what_is_no_number_is_refused():
    with pytest.raises(NotFinite):
        quantize_fixed(np.array([[np.nan]], np.float32), scale=1, least=0, most=1)
