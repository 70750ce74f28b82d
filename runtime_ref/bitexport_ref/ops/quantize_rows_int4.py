"""QuantizeRowsInt4: codes from -8 to 7 and one scale for each row (NUMERICS.md)."""

from __future__ import annotations

import numpy as np

from bitexport_ref.numerics import F32, S8, lane_sum, require_finite, rint

_ROOT_7 = np.float32(float.fromhex("0x1.52a7fap+1"))


def quantize_rows_int4(x: F32) -> tuple[S8, F32]:
    """Return q = rint(x * s) and s = sqrt(7) / mean |x|: (..., columns) -> x's, (..., 1)."""
    require_finite(x, "the input")
    mean = lane_sum(np.abs(x)) / np.float32(x.shape[-1])
    scale: F32 = (_ROOT_7 / np.maximum(mean, np.float32(1e-5)))[..., None]
    codes = np.clip(rint(x * scale), np.float32(-8), np.float32(7))
    return codes.astype(np.int8), scale
