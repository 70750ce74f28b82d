"""quantize_groups: each group of columns quantized by itself."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand, NotFinite
from bitexport_ref.ops.quantize_groups import quantize_groups


@pytest.mark.parametrize(("columns", "group"), [(1, 16), (16, 16), (40, 16), (300, 128)])
def test_codes_and_scales_are_those_of_the_formula(columns, group, plain, same_bits):
    f32 = plain.f32
    x = np.random.default_rng(0).standard_normal((2, 3, columns)).astype(np.float32)
    codes, scale = quantize_groups(x, group=group)
    groups = -(-columns // group)
    assert codes.dtype == np.int8
    assert scale.shape == (2, 3, groups)
    for b, t, g in np.ndindex(2, 3, groups):
        some = slice(g * group, (g + 1) * group)
        row = x[b, t, some].tolist()
        wanted = f32(127 / max(*map(abs, row), f32(1e-5)))
        same_bits(scale[b, t, g], wanted)
        rounded = [round(f32(v * wanted)) for v in row]
        assert codes[b, t, some].tolist() == [min(127, max(-128, v)) for v in rounded]


def test_what_is_not_finite_is_refused():
    x = np.zeros((1, 40), np.float32)
    x[0, 33] = np.nan
    with pytest.raises(NotFinite, match="the input is not finite"):
        quantize_groups(x, group=16)


def test_groups_of_another_size_are_refused():
    with pytest.raises(BadOperand, match="groups of 20"):
        quantize_groups(np.zeros((1, 40), np.float32), group=20)
