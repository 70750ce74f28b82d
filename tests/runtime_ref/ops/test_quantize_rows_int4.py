"""quantize_rows_int4: codes from -8 to 7, scaled by the mean magnitude."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitexport_ref.errors import NotFinite
from bitexport_ref.ops.quantize_rows_int4 import quantize_rows_int4


@pytest.mark.parametrize("size", [1e-30, 1e-6, 1.0, 300.0, 1e30])
@pytest.mark.parametrize("columns", [1, 8, 43])
def test_codes_and_scale_are_those_of_the_formula(size, columns, plain, same_bits):
    f32 = plain.f32
    x = (size * np.random.default_rng(0).standard_normal((2, 3, columns))).astype(np.float32)
    codes, scale = quantize_rows_int4(x)
    assert codes.dtype == np.int8
    assert scale.shape == (2, 3, 1)
    root = float.fromhex("0x1.52a7fap+1")
    rows = zip(x.reshape(6, -1), codes.reshape(6, -1), scale.flat, strict=True)
    for row, found, s in rows:
        mean = f32(plain.lane_sum([abs(v) for v in row.tolist()]) / columns)
        wanted = f32(root / max(mean, f32(1e-5)))
        same_bits(s, wanted)
        assert found.tolist() == [min(7, max(-8, round(f32(v * wanted)))) for v in row.tolist()]


def test_the_literal_is_the_root_of_7(plain):
    assert plain.f32(math.sqrt(7)) == float.fromhex("0x1.52a7fap+1")


def test_by_hand(same_bits):
    """The mean is 2, the scale 1.3228757: 2.6, 5.3 clipped by nothing, -10.6 clipped to -8."""
    x = np.array([[2, 4, 0, 0, 0, 0, 0, 0, 0, 0, -8, 0, 0, 8, 0, 10]], np.float32)
    codes, scale = quantize_rows_int4(x)
    same_bits(scale, [[np.float32(float.fromhex("0x1.52a7fap+0"))]])
    assert codes.tolist() == [[3, 5, 0, 0, 0, 0, 0, 0, 0, 0, -8, 0, 0, 7, 0, 7]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad):
    x = np.zeros((2, 3), np.float32)
    x[1, 2] = bad
    with pytest.raises(NotFinite, match=r"the input is not finite: .* at \[1, 2\]"):
        quantize_rows_int4(x)
