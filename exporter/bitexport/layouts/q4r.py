"""q4r: 4 bits a weight, a byte holds one column of two rows (targets/FORMAT.md, section 3.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitexport.layouts import tile_bytes, tiled_bytes, tiles_of

LAYOUT_ID = 3
SUFFIX = "Q4R"
ROW_TILE = 8


def packed_bytes(n: int, k: int) -> int:
    """Return the bytes of a matrix [n, k], padding included."""
    return tiled_bytes(n, k, ROW_TILE)


def pack(weights: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return the bytes of rows of -8 … 7, shape (rows, k), rows whole tiles or the last.

    Row blocks packed one after the other are the matrix packed at once.
    """
    fields = tiles_of(weights, ROW_TILE).view(np.uint8)
    codes = fields[:, 0] + np.uint8(8)
    codes |= fields[:, 1] << np.uint8(4)
    return tile_bytes(codes)
