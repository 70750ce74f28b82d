"""p2b: 2 bits a weight, three columns to an index of a table (targets/FORMAT.md, section 3.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LAYOUT_ID = 4
SUFFIX = "P2B"
ROW_TILE = 16
_BLOCK = 24
_BLOCK_BYTES = 96
_INDICES = 4
_COLUMNS = 3


def packed_bytes(n: int, k: int) -> int:
    """Return the bytes of a matrix [n, k], padding included."""
    return -(-n // ROW_TILE) * -(-k // _BLOCK) * _BLOCK_BYTES


def pack(trits: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return the bytes of rows of trits, shape (rows, k), rows a whole number of tiles or the last.

    Row blocks packed one after the other are the matrix packed at once.
    """
    rows, k = trits.shape
    padded = np.zeros((-(-rows // ROW_TILE) * ROW_TILE, -(-k // _BLOCK) * _BLOCK), np.int8)
    padded[:rows, :k] = trits
    digits = (padded.view(np.uint8) + np.uint8(1)).reshape(
        -1, ROW_TILE, padded.shape[1] // (_INDICES * _COLUMNS), _INDICES, _COLUMNS
    )
    index = digits[..., 0] + np.uint8(3) * digits[..., 1] + np.uint8(9) * digits[..., 2]
    bands, _, tiles, _ = index.shape
    packed = np.empty((bands, tiles, _COLUMNS, ROW_TILE), np.uint8)
    first, second, third, fourth = np.moveaxis(index.transpose(0, 2, 1, 3), -1, 0)
    packed[:, :, 0] = first | (fourth << np.uint8(5))
    packed[:, :, 1] = second | (fourth >> np.uint8(3) << np.uint8(6))
    packed[:, :, 2] = third
    return packed.reshape(-1)
