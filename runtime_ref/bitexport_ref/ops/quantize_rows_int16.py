"""QuantizeRowsInt16: 16-bit codes as two of 8 bits, and one scale for each row (NUMERICS.md)."""

from __future__ import annotations

import numpy as np

from bitexport_ref.numerics import F32, S8, require_finite, rint

_LARGEST = np.float32(32512)


def quantize_rows_int16(x: F32) -> tuple[S8, S8, F32]:
    """Return high, low and s = 32512 / max |x|: (..., columns) -> x's, x's, (..., 1).

    256 * high + low is rint(x * s), high in [-127, 127], low in [-128, 127].
    """
    require_finite(x, "the input")
    largest = np.max(np.abs(x), axis=-1, keepdims=True)
    scale: F32 = _LARGEST / np.maximum(largest, np.float32(1e-5))
    codes = np.clip(rint(x * scale), -_LARGEST, _LARGEST).astype(np.int32)
    high = (codes + 128) >> 8
    return high.astype(np.int8), (codes - 256 * high).astype(np.int8), scale
