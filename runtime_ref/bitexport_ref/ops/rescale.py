"""Rescale: integer sums back to f32 (NUMERICS.md, Rescale)."""

from __future__ import annotations

import numpy as np

from bitexport_ref.numerics import F32, S32


def rescale(sums: S32, scale: F32, weight_scale: F32) -> F32:
    """Return float(sums) * (weight_scale / scale): (..., n), (..., 1), (1) or (n) -> (..., n)."""
    return sums.astype(np.float32) * (weight_scale / scale)
