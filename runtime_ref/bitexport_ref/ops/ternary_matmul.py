"""TernaryMatMul: int8 activations times ternary weights, exact in s32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import BadOperand
from bitexport_ref.numerics import S8, S32, integer_matmul

LARGEST_TRIT = 2
"""The code that no sound file holds acts as +2 or -2 (FORMAT.md, section 3.3)."""


def ternary_matmul(q: S8, weight: S8) -> S32:
    """Return q @ weight.T: (..., k), (n, k) -> (..., n)."""
    n, k = weight.shape
    if q.shape[-1] != k:
        message = f"rows have {q.shape[-1]} columns, the weight has {k}"
        raise BadOperand(message)
    return integer_matmul(q.reshape(-1, k), weight, LARGEST_TRIT).reshape(*q.shape[:-1], n)


def unpack_p2r(packed: NDArray[np.uint8], *, n: int, k: int) -> S8:
    """Undo layout p2r (FORMAT.md, section 3.3): (N * K / 4) bytes -> (n, k).

    A tile is 16 rows by 4 columns; its byte 4l + i holds column i of the rows l, 4 + l, 8 + l,
    12 + l in its fields 0, 1, 2, 3.
    """
    tile_rows, tile_columns = -(-n // 16), -(-k // 16) * 4
    if packed.size != tile_rows * tile_columns * 16:
        message = f"{packed.size} bytes do not hold a p2r matrix of {n} by {k}"
        raise BadOperand(message)
    tiles = packed.reshape(tile_rows, tile_columns, 4, 4)
    lines = np.ascontiguousarray(tiles.transpose(0, 2, 1, 3)).reshape(tile_rows, 4, -1)
    weights = np.empty((tile_rows, 4, 4, tile_columns * 4), np.int8)
    for field in range(3):
        code = (lines >> np.uint8(2 * field)) & np.uint8(3)
        weights[:, field] = code.view(np.int8) - np.int8(1)
    weights[:, 3] = lines.view(np.int8) >> np.int8(6)
    return weights.reshape(tile_rows * 16, -1)[:n, :k]
