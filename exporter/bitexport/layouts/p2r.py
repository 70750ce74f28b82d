"""p2r: 2 bits a weight, a byte holds one column of four rows (targets/FORMAT.md, section 3.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LAYOUT_ID = 1
SUFFIX = "P2R"
ROW_TILE = 16
BITS_PER_WEIGHT = 2.0
_STEP = 4


def packed_bytes(n: int, k: int) -> int:
    """Return the bytes of a matrix [n, k], padding included."""
    return _up(n) * _up(k) // 4


def pack(trits: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return the bytes of rows of trits, shape (rows, k), rows a whole number of tiles or the last.

    Row blocks packed one after the other are the matrix packed at once.
    """
    rows, k = trits.shape
    padded = np.zeros((_up(rows), _up(k)), np.int8)
    padded[:rows, :k] = trits
    # (tile, field, lane, step, i): row 16 tile + 4 field + lane, column 4 step + i
    fields = padded.reshape(-1, 4, 4, padded.shape[1] // _STEP, _STEP).view(np.uint8)
    codes = fields[:, 0] + np.uint8(1)
    codes |= (fields[:, 1] + np.uint8(1)) << np.uint8(2)
    codes |= (fields[:, 2] + np.uint8(1)) << np.uint8(4)
    codes |= fields[:, 3] << np.uint8(6)
    return np.ascontiguousarray(codes.transpose(0, 2, 1, 3)).reshape(-1)


def _up(size: int) -> int:
    return -(-size // ROW_TILE) * ROW_TILE
