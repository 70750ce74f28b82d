"""AppendCache: store rows at their positions, in the dtype of the state."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import BadOperand
from bitexport_ref.numerics import F32, f32_to_f16, require_finite

State = NDArray[np.float16] | NDArray[np.float32]


def append_cache(past: State, x: F32, *, heads: int) -> State:
    """Append: (b, heads, past, d), (b, s, heads * d) -> (b, heads, past + s, d)."""
    batch, rows, columns = x.shape
    head_size = past.shape[3]
    if past.shape[1] != heads or columns != heads * head_size:
        message = f"{columns} columns do not fit a state of {past.shape[1]} heads of {head_size}"
        raise BadOperand(message)
    require_finite(x, "the input")
    stored = f32_to_f16(x) if past.dtype == np.float16 else x
    split = stored.reshape(batch, rows, heads, head_size).transpose(0, 2, 1, 3)
    return cast(State, np.concatenate((past, split), axis=2))


def appended_rows(present: NDArray[Any], count: int) -> NDArray[Any]:
    """Return the last rows of a state as one row each: (b, heads, n, d) -> (b * s, heads * d)."""
    batch, heads, positions, head_size = present.shape
    last = present[:, :, positions - count :].transpose(0, 2, 1, 3)
    return last.reshape(batch * count, heads * head_size)
