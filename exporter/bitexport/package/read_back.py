"""Read back what was written, as the reference reads it, and compare it with the checkpoint.

Reference and runtime read the same bytes: comparing them with each other shows no wrong one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitexport.errors import MismatchError
from bitexport.models.parts.stored import StoredMatrix
from bitexport.progress import Advance
from bitexport_ref.layouts import LAYOUTS, unpack


def read_back(
    tensors: Mapping[str, StoredMatrix], data: Path, offsets: Mapping[str, int], advance: Advance
) -> None:
    """Compare every matrix of a file with the checkpoint, a block of rows at a time."""
    done = 0
    with data.open("rb") as file:
        for name, stored in tensors.items():
            tile = stored.packing.ROW_TILE if stored.packing else 1
            for start, rows in stored.matrix.blocks(tile):
                found = _rows_in(file.fileno(), offsets[name], stored, start, rows)
                if not np.array_equal(found, rows):
                    raise MismatchError(
                        f"{data.name}: the reference reads other numbers in rows {start} to "
                        f"{start + len(rows)} of `{name}` than the checkpoint holds",
                        hint=f"layout {stored.layout} is written wrongly, a bug of bitexport",
                    )
                advance(done + stored.nbytes * (start + len(rows)) // stored.matrix.rows)
            done += stored.nbytes


def _rows_in(
    file: int, offset: int, stored: StoredMatrix, start: int, like: NDArray[np.generic]
) -> NDArray[np.generic]:
    """Return the rows from `start` on that a file holds, as many as there are in `like`."""
    count, k = len(like), stored.matrix.columns
    if stored.packing is None:
        row = stored.nbytes // stored.matrix.rows
        raw = os.pread(file, count * row, offset + start * row)
        return np.frombuffer(raw, like.dtype).reshape(like.shape)
    place, size = stored.packing.packed_bytes(start, k), stored.packing.packed_bytes(count, k)
    packed = np.frombuffer(os.pread(file, size, offset + place), np.uint8)
    return unpack(packed, LAYOUTS[stored.layout], n=count, k=k)
