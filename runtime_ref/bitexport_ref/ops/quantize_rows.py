"""QuantizeRows: int8 codes and one scale for each row (NUMERICS.md, QuantizeRows)."""

from __future__ import annotations

import numpy as np

from bitexport_ref.numerics import F32, S8, require_finite, rint


def quantize_rows(x: F32) -> tuple[S8, F32]:
    """Return q = rint(x * s) and s = 127 / max |x|: (..., columns) -> x's, (..., 1)."""
    require_finite(x, "the input")
    largest = np.max(np.abs(x), axis=-1, keepdims=True)
    scale = np.float32(127) / np.maximum(largest, np.float32(1e-5))
    codes = np.clip(rint(x * scale), np.float32(-128), np.float32(127))
    return codes.astype(np.int8), scale
