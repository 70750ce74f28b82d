"""quantize_rows_int16: 16-bit codes, split into two of 8 bits."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import NotFinite
from bitexport_ref.ops.quantize_rows_int16 import quantize_rows_int16


@pytest.mark.parametrize("size", [1e-30, 1e-6, 1.0, 300.0, 1e30])
def test_codes_and_scale_are_those_of_the_formula(size, plain, same_bits):
    f32 = plain.f32
    x = (size * np.random.default_rng(0).standard_normal((2, 3, 40))).astype(np.float32)
    high, low, scale = quantize_rows_int16(x)
    assert high.dtype == low.dtype == np.int8
    assert high.shape == low.shape == x.shape
    assert scale.shape == (2, 3, 1)
    codes = 256 * high.astype(int) + low
    for row, found, s in zip(x.reshape(6, 40), codes.reshape(6, 40), scale.flat, strict=True):
        wanted = f32(32512 / max(*map(abs, row.tolist()), f32(1e-5)))
        same_bits(s, wanted)
        rounded = [round(f32(v * wanted)) for v in row.tolist()]
        assert found.tolist() == [min(32512, max(-32512, v)) for v in rounded]


def test_every_code_splits_into_high_and_low():
    x = np.arange(-32512, 32513, dtype=np.float32)[None]
    high, low, scale = quantize_rows_int16(x)
    assert scale.tolist() == [[1.0]]
    assert (256 * high.astype(int) + low).tolist() == x.tolist()
    assert (high.min(), high.max(), low.min(), low.max()) == (-127, 127, -128, 127)


def test_by_hand():
    high, low, _ = quantize_rows_int16(np.array([[127, 128, -128, -129, 0.5, 32512]], np.float32))
    assert high.tolist() == [[0, 1, 0, -1, 0, 127]]
    assert low.tolist() == [[127, -128, -128, 127, 0, 0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad):
    x = np.zeros((2, 3), np.float32)
    x[1, 2] = bad
    with pytest.raises(NotFinite, match=r"the input is not finite: .* at \[1, 2\]"):
        quantize_rows_int16(x)
