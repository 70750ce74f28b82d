"""p16: 1.6 bits a weight, a byte holds five columns of a row (targets/FORMAT.md, section 3.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LAYOUT_ID = 6
SUFFIX = "P16"
ROW_TILE = 8
_DIGITS = 5
_COLUMN_TILE = 10


def packed_bytes(n: int, k: int) -> int:
    """Return the bytes of a matrix [n, k], padding included."""
    rows, columns = -(-n // ROW_TILE) * ROW_TILE, -(-k // _COLUMN_TILE) * _COLUMN_TILE
    return rows * columns // _DIGITS


def pack(trits: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return the bytes of rows of trits, shape (rows, k), rows a whole number of tiles or the last.

    Row blocks packed one after the other are the matrix packed at once.
    """
    n, k = trits.shape
    rows, columns = -(-n // ROW_TILE) * ROW_TILE, -(-k // _COLUMN_TILE) * _COLUMN_TILE
    digits = np.ones((rows, columns), np.uint8)
    digits[:n, :k] = trits + np.int8(1)
    fives = digits.reshape(-1, ROW_TILE, columns // _DIGITS, _DIGITS)
    codes = fives[..., _DIGITS - 1].copy()
    for place in reversed(range(_DIGITS - 1)):
        codes *= np.uint8(3)
        codes += fives[..., place]
    return np.ascontiguousarray(codes.transpose(0, 2, 1)).reshape(-1)
