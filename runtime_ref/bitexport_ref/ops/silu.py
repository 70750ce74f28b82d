"""Silu: x times the logistic function of x (NUMERICS.md, Silu)."""

from __future__ import annotations

import numpy as np

from bitexport_ref.numerics import F32, exp


def silu(x: F32) -> F32:
    """Return x / (1 + exp(0 - x)); any shape."""
    return x / (np.float32(1) + exp(np.float32(0) - x))
