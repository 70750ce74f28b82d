"""b1r: 1 bit a weight, a byte holds one column of eight rows (targets/FORMAT.md, section 3.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitexport.layouts import tile_bytes, tiled_bytes, tiles_of

LAYOUT_ID = 2
SUFFIX = "B1R"
ROW_TILE = 32
_BITS = 8


def packed_bytes(n: int, k: int) -> int:
    """Return the bytes of a matrix [n, k], padding included."""
    return tiled_bytes(n, k, ROW_TILE)


def pack(signs: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return the bytes of rows of -1 and 1, shape (rows, k), rows whole tiles or the last.

    Row blocks packed one after the other are the matrix packed at once.
    """
    fields = (tiles_of(signs, ROW_TILE) > 0).view(np.uint8)
    codes = fields[:, 0].copy()
    for bit in range(1, _BITS):
        codes |= fields[:, bit] << np.uint8(bit)
    return tile_bytes(codes)
