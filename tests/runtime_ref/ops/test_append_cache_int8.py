"""append_cache_int8: codes and scales of each head behind those before, or refused."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand, NotFinite
from bitexport_ref.ops.append_cache_int8 import append_cache_int8

TINY = np.float32(1e-5)


def states(batch=1, heads=1, past=0, d=5):
    """Return codes and scales of some positions."""
    rng = np.random.default_rng(past)
    codes = rng.integers(-128, 128, (batch, heads, past, d)).astype(np.int8)
    return codes, rng.random((batch, heads, past, 1), np.float32)


def test_each_head_of_a_row_has_codes_and_a_scale_of_its_own(plain):
    past, past_scale = states(2, 3, 4)
    x = np.random.default_rng(0).standard_normal((2, 6, 15)).astype(np.float32)
    x[1, 3, :5] *= np.float32(1e6)
    present, scale = append_cache_int8(past, past_scale, x, heads=3)
    assert (present.dtype, scale.dtype) == (np.int8, np.float32)
    np.testing.assert_array_equal(present[:, :, :4], past)
    np.testing.assert_array_equal(scale[:, :, :4], past_scale)
    for b, t, head in np.ndindex(2, 6, 3):
        row = x[b, t, head * 5 : head * 5 + 5].tolist()
        factor = plain.f32(127 / max(*map(abs, row)))
        assert scale[b, head, 4 + t, 0] == plain.f32(1 / factor)
        codes = [round(plain.f32(value * factor)) for value in row]
        assert present[b, head, 4 + t].tolist() == codes
        assert max(map(abs, codes)) == 127


@pytest.mark.parametrize("largest", [0.0, 1e-45, 1e-6, 3.4e38])
def test_the_scale_is_finite_and_no_zero(largest):
    x = np.array([[[largest, -largest, 0, 0, 0]]], np.float32)
    codes, scale = append_cache_int8(*states(), x, heads=1)
    factor = np.float32(127) / np.maximum(np.float32(largest), TINY)
    assert scale[0, 0, 0, 0] == np.float32(1) / factor
    assert 0 < scale[0, 0, 0, 0] < np.inf
    near = codes[0, 0, 0].astype(np.float64) * scale[0, 0, 0, 0]
    np.testing.assert_allclose(near, x[0, 0], atol=float(scale[0, 0, 0, 0]) * 0.51)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_has_no_codes_is_refused(bad):
    x = np.zeros((1, 2, 5), np.float32)
    x[0, 1, 3] = bad
    with pytest.raises(NotFinite):
        append_cache_int8(*states(), x, heads=1)


def test_rows_that_do_not_fit_the_states_are_refused():
    x = np.zeros((1, 1, 6), np.float32)
    with pytest.raises(BadOperand, match="6 columns do not fit states"):
        append_cache_int8(*states(), x, heads=1)
    codes, scale = states(past=2)
    with pytest.raises(BadOperand, match="do not fit states"):
        append_cache_int8(codes, scale[:, :, :1], x[..., :5], heads=1)
