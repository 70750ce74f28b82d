"""AppendCacheInt8: store rows as int8 codes, with a scale for each head (NUMERICS.md)."""

from __future__ import annotations

import numpy as np

from bitexport_ref.errors import BadOperand
from bitexport_ref.numerics import F32, S8
from bitexport_ref.ops.quantize_rows import quantize_rows


def append_cache_int8(past: S8, past_scale: F32, x: F32, *, heads: int) -> tuple[S8, F32]:
    """Append: (b, heads, past, d), (b, heads, past, 1), (b, s, heads * d) -> both, past + s."""
    batch, rows, columns = x.shape
    head_size = past.shape[3]
    fits = past.shape[1] == heads and columns == heads * head_size
    if not fits or past_scale.shape != (*past.shape[:3], 1):
        message = f"{columns} columns do not fit states {past.shape} and {past_scale.shape}"
        raise BadOperand(message)
    codes, factor = quantize_rows(x.reshape(batch, rows, heads, head_size).transpose(0, 2, 1, 3))
    present = np.concatenate((past, codes), axis=2)
    return present, np.concatenate((past_scale, np.float32(1) / factor), axis=2)
