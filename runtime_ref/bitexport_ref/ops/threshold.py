"""Threshold: codes that say how many thresholds a number reaches (NUMERICS.md, Threshold)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import BadOperand
from bitexport_ref.numerics import F32, S8, S32, require_finite


def threshold(x: F32, levels: F32, *, start: int, step: int) -> S8:
    """Return start + step * (how many levels <= x): (..., n), (l, 1) or (l, n) -> (..., n)."""
    require_finite(x, "the input")
    return _count(x, levels, start, step)


def threshold_s32(x: S32, levels: S32, *, start: int, step: int) -> S8:
    """Return the same of integers."""
    return _count(x, levels, start, step)


def _count(x: NDArray[Any], levels: NDArray[Any], start: int, step: int) -> S8:
    if levels.ndim != 2 or levels.shape[1] not in (1, x.shape[-1]):  # noqa: PLR2004 - a matrix
        message = f"levels {levels.shape} for columns {x.shape[-1]}"
        raise BadOperand(message)
    reached = np.zeros(x.shape, np.int64)
    for level in levels:
        reached += x >= level
    codes = start + step * reached
    if codes.min(initial=0) < -128 or codes.max(initial=0) > 127:  # noqa: PLR2004 - those of s8
        message = f"start {start} and step {step} leave the codes of int8"
        raise BadOperand(message)
    return codes.astype(np.int8)
