"""Affine: numbers, integers or not, times a factor, plus an offset (NUMERICS.md, Affine)."""

from __future__ import annotations

import numpy as np

from bitexport_ref.errors import BadOperand
from bitexport_ref.numerics import F32, S8, S32


def affine(x: F32, factor: F32, offset: F32) -> F32:
    """Return x * factor + offset, rounded twice: (..., n), (1) or (n), (1) or (n) -> (..., n)."""
    for vector in (factor, offset):
        if vector.shape not in ((1,), x.shape[-1:]):
            message = f"a vector {vector.shape} for columns {x.shape[-1:]}"
            raise BadOperand(message)
    y: F32 = x * factor + offset
    return y


def affine_s8(x: S8, factor: F32, offset: F32) -> F32:
    """Return the same of codes."""
    return affine(x.astype(np.float32), factor, offset)


def affine_s32(x: S32, factor: F32, offset: F32) -> F32:
    """Return the same of sums, each rounded to f32 first."""
    return affine(x.astype(np.float32), factor, offset)
