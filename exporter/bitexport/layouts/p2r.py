"""p2r: 2 bits a weight, a byte holds one column of four rows (targets/FORMAT.md, section 3.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitexport.layouts import tile_bytes, tiled_bytes, tiles_of

LAYOUT_ID = 1
SUFFIX = "P2R"
ROW_TILE = 16


def packed_bytes(n: int, k: int) -> int:
    """Return the bytes of a matrix [n, k], padding included."""
    return tiled_bytes(n, k, ROW_TILE)


def pack(trits: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return the bytes of rows of trits, shape (rows, k), rows a whole number of tiles or the last.

    Row blocks packed one after the other are the matrix packed at once.
    """
    fields = tiles_of(trits, ROW_TILE).view(np.uint8)
    codes = fields[:, 0] + np.uint8(1)
    codes |= (fields[:, 1] + np.uint8(1)) << np.uint8(2)
    codes |= (fields[:, 2] + np.uint8(1)) << np.uint8(4)
    codes |= fields[:, 3] << np.uint8(6)
    return tile_bytes(codes)
