"""QuantizeFixed: codes with a scale that is part of the plan (NUMERICS.md, QuantizeFixed)."""

from __future__ import annotations

import numpy as np

from bitexport_ref.numerics import F32, S8, require_finite, rint


def quantize_fixed(x: F32, *, scale: float, least: float, most: float) -> S8:
    """Return rint(x / scale clipped to [least, most]); any shape."""
    require_finite(x, "the input")
    with np.errstate(over="ignore"):
        quotient = x / np.float32(scale)
    return rint(np.clip(quotient, np.float32(least), np.float32(most))).astype(np.int8)
