"""affine: a product and a sum, each rounded once."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand
from bitexport_ref.ops.affine import affine, affine_s8, affine_s32


@pytest.mark.parametrize("factors", [1, 6])
@pytest.mark.parametrize("offsets", [1, 6])
def test_every_step_is_rounded_once(factors, offsets, plain, same_bits):
    f32 = plain.f32
    rng = np.random.default_rng(factors + offsets)
    x = rng.standard_normal((2, 3, 6)).astype(np.float32)
    factor, offset = (rng.standard_normal(n).astype(np.float32) for n in (factors, offsets))
    expected = [
        [
            [
                f32(f32(float(v) * float(factor[j % factors])) + float(offset[j % offsets]))
                for j, v in enumerate(row)
            ]
            for row in rows
        ]
        for rows in x
    ]
    same_bits(affine(x, factor, offset), expected)


def test_integers_become_floats_first(same_bits):
    half, one = np.array([0.5], np.float32), np.array([1], np.float32)
    sums = np.array([[2**24 + 1, -(2**31), 3]], np.int32)
    same_bits(affine_s32(sums, half, one), [[2**23 + 1, -(2**30), 2.5]])
    same_bits(affine_s8(np.array([[-128, 127]], np.int8), half, one), [[-63, 64.5]])


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(BadOperand, match=r"a vector \(2,\) for columns \(3,\)"):
        affine(np.zeros((1, 3), np.float32), np.zeros(2, np.float32), np.zeros(1, np.float32))
