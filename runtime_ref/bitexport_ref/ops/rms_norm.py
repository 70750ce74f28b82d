"""RmsNorm: divide each head by its root mean square, then scale it (NUMERICS.md, RmsNorm)."""

from __future__ import annotations

import numpy as np

from bitexport_ref.errors import BadOperand
from bitexport_ref.numerics import F32, lane_sum


def rms_norm(x: F32, weight: F32, *, epsilon: float, heads: int) -> F32:
    """Return (x * (1 / sqrt(mean x² + epsilon))) * weight: (..., heads * d), (d) -> x's."""
    columns = x.shape[-1]
    if columns != heads * weight.shape[0]:
        message = f"{columns} columns are not {heads} heads of {weight.shape[0]}"
        raise BadOperand(message)
    split = x.reshape(*x.shape[:-1], heads, weight.shape[0])
    mean = lane_sum(split * split) / np.float32(weight.shape[0])
    r = np.float32(1) / np.sqrt(mean + np.float32(epsilon))
    y: F32 = (split * r[..., None]) * weight
    return y.reshape(x.shape)
