"""quantize_rows: int8 codes per token, ties to even."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import NotFinite
from bitexport_ref.ops.quantize_rows import quantize_rows


@pytest.mark.parametrize("size", [1e-30, 1e-6, 1.0, 300.0, 1e30])
def test_codes_and_scale_are_those_of_the_formula(size, plain, same_bits):
    f32 = plain.f32
    x = (size * np.random.default_rng(0).standard_normal((2, 3, 40))).astype(np.float32)
    codes, scale = quantize_rows(x)
    assert codes.dtype == np.int8
    assert codes.shape == x.shape
    for row, found, s in zip(x.reshape(6, 40), codes.reshape(6, 40), scale.flat, strict=True):
        largest = max(abs(v) for v in row.tolist())
        wanted = f32(127 / max(largest, f32(1e-5)))
        same_bits(s, wanted)
        assert found.tolist() == [min(127, max(-128, round(f32(v * wanted)))) for v in row.tolist()]
    assert scale.shape == (2, 3, 1)


def test_ties_go_to_the_even_code():
    codes, _ = quantize_rows(np.array([[0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 127]], np.float32))
    assert codes.tolist() == [[0, 2, 2, 0, -2, -2, 127]]


def test_a_row_of_zeros_has_codes_of_zero(same_bits):
    codes, scale = quantize_rows(np.array([[0.0, -0.0]], np.float32))
    assert codes.tolist() == [[0, 0]]
    same_bits(scale, [[np.float32(127) / np.float32(1e-5)]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad):
    x = np.zeros((2, 3), np.float32)
    x[1, 2] = bad
    with pytest.raises(NotFinite, match=r"the input is not finite: .* at \[1, 2\]"):
        quantize_rows(x)
