"""Softmax: the standard op over the last axis (NUMERICS.md, Softmax)."""

from __future__ import annotations

import numpy as np

from bitexport_ref.numerics import F32, exp, lane_sum


def softmax(x: F32) -> F32:
    """Return exp(x - max) / lane_sum of these; any shape."""
    e = exp(x - np.max(x, axis=-1, keepdims=True))
    y: F32 = e / lane_sum(e)[..., None]
    return y
