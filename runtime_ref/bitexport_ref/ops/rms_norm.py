"""RmsNorm: divide a row by its root mean square, then scale it (NUMERICS.md, RmsNorm)."""

from __future__ import annotations

import numpy as np

from bitexport_ref.numerics import F32, lane_sum


def rms_norm(x: F32, weight: F32, *, epsilon: float) -> F32:
    """Return (x * (1 / sqrt(mean x² + epsilon))) * weight: (..., columns), (columns) -> x's."""
    mean = lane_sum(x * x) / np.float32(x.shape[-1])
    r = np.float32(1) / np.sqrt(mean + np.float32(epsilon))
    y: F32 = (x * r[..., None]) * weight
    return y
