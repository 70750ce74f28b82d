"""t5x3: three weights in five bits, 32 columns of 12 rows to a tile (FORMAT.md, section 3.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LAYOUT_ID = 5
SUFFIX = "T5X3"
ROW_TILE = 12
_COLUMN_TILE = 32
_TILE_BYTES = 80
_DIGITS, _LANES, _GROUPS, _STEP = 3, 4, 8, 4


def packed_bytes(n: int, k: int) -> int:
    """Return the bytes of a matrix [n, k], padding included."""
    return -(-n // ROW_TILE) * -(-k // _COLUMN_TILE) * _TILE_BYTES


def pack(trits: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return the bytes of rows of trits, shape (rows, k), rows a whole number of tiles or the last.

    Row blocks packed one after the other are the matrix packed at once.
    """
    n, k = trits.shape
    tiles_down, tiles_across = -(-n // ROW_TILE), -(-k // _COLUMN_TILE)
    digits = np.ones((tiles_down * ROW_TILE, tiles_across * _COLUMN_TILE), np.uint8)
    digits[:n, :k] = trits + np.int8(1)
    by_tile = digits.reshape(tiles_down, _DIGITS, _LANES, tiles_across, _GROUPS, _STEP)
    codes: NDArray[np.uint8] = by_tile[:, 2] * np.uint8(9)
    codes += by_tile[:, 1] * np.uint8(3) + by_tile[:, 0]
    code = codes.transpose(3, 0, 2, 1, 4)  # group, row tile, column tile, lane, column
    low = np.uint8(7)
    made = code[:5] << np.uint8(3)
    made[0] |= code[5] & low
    made[1] |= code[5] >> np.uint8(3) << np.uint8(1) | code[7] >> np.uint8(3) & np.uint8(1)
    made[2] |= code[6] & low
    made[3] |= code[6] >> np.uint8(3) << np.uint8(1) | code[7] >> np.uint8(4)
    made[4] |= code[7] & low
    return np.ascontiguousarray(made.transpose(1, 2, 0, 3, 4)).reshape(-1)
