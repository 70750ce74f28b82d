"""Rescale: integer sums back to f32 (NUMERICS.md, Rescale)."""

from __future__ import annotations

import numpy as np

from bitexport_ref.errors import BadOperand
from bitexport_ref.numerics import F32, S32


def rescale(sums: S32, scale: F32, weight_scale: F32) -> F32:
    """Return float(sums) * (weight_scale / scale): (..., n), (..., 1), (1) or (n) -> (..., n)."""
    return sums.astype(np.float32) * (weight_scale / scale)


def rescale_int16(sums: S32, scale: F32, weight_scale: F32, low_sums: S32) -> F32:
    """Return (float(sums) * 256 + float(low_sums)) * (weight_scale / scale); shapes as above."""
    if low_sums.shape != sums.shape:
        message = f"sums of high codes {sums.shape} and of low ones {low_sums.shape}"
        raise BadOperand(message)
    both = sums.astype(np.float32) * np.float32(256) + low_sums.astype(np.float32)
    y: F32 = both * (weight_scale / scale)
    return y
