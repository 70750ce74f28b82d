"""Relu: x where x is above zero, else +0 (NUMERICS.md, Relu)."""

from __future__ import annotations

import numpy as np

from bitexport_ref.numerics import F32


def relu(x: F32) -> F32:
    """Return x > 0 ? x : +0; any shape.  A NaN is not above zero."""
    y: F32 = np.where(x > 0, x, np.float32(0))
    return y
