"""Rope: rotate each head by its row's position (NUMERICS.md, Rope)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import BadOperand, ContextFull
from bitexport_ref.numerics import F32
from bitexport_ref.stored import Rows


def rope(
    x: F32,
    cos: Rows[np.float32],
    sin: Rows[np.float32],
    past_length: NDArray[np.int64],
    *,
    heads: int,
) -> F32:
    """Rotate: (b, s, heads * d), (positions, d / 2) twice, (1) -> (b, s, heads * d)."""
    batch, rows, columns = x.shape
    half = cos.shape[1]
    if columns != heads * 2 * half:
        message = f"{columns} columns are not {heads} heads of {2 * half}"
        raise BadOperand(message)
    past = int(past_length[0])
    if past + rows > cos.shape[0]:
        message = f"position {past + rows - 1} is not below the context of {cos.shape[0]}"
        raise ContextFull(message)
    halves = x.reshape(batch, rows, heads, 2, half)
    low, high = halves[:, :, :, 0], halves[:, :, :, 1]
    c = cos[past : past + rows][:, None]
    s = sin[past : past + rows][:, None]
    turned = np.stack((low * c - high * s, high * c + low * s), axis=3)
    return turned.reshape(x.shape)
