"""Weight layouts: how a matrix of small integers becomes bytes.  Only `pack` lives here.

Unpacking belongs to the readers (`bitexport_ref`, the C kernels), each with its own; all three
cite targets/FORMAT.md, section 3.3.  `Layout` says what a module here offers.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray


class Layout(Protocol):
    """What a layout module offers."""

    LAYOUT_ID: int
    SUFFIX: str
    ROW_TILE: int
    packed_bytes: Callable[[int, int], int]
    pack: Callable[[NDArray[np.int8]], NDArray[np.uint8]]


@dataclasses.dataclass(frozen=True)
class Lookup:
    """A layout whose kernels look sums up, in tables made of x (targets/runtime/src/lookup.h)."""

    block: int
    """Columns that are taken together."""
    table_bytes: int
    """Of the tables that a block has."""
    rows: int
    columns: int
    """Rows of x and columns that have their tables at the same time, at most."""
    row_columns: int | None = None
    """Columns when there is one row of x; None for all."""

    def scratch_bytes(self, k: int) -> int:
        """Bytes of tables at a time, for a matrix of k columns."""
        many = self.rows * self._tables(min(k, self.columns))
        return max(many, self._tables(min(k, self.row_columns or k)))

    def _tables(self, columns: int) -> int:
        return -(-columns // self.block) * self.table_bytes


LOOKUPS = {"P2B": Lookup(24, 512, 8, 384), "P16": Lookup(10, 1024, 2, 160, 320)}
"""By the layout's suffix."""

LANES, STEP, COLUMN_TILE = 4, 4, 16


def tiled_bytes(n: int, k: int, row_tile: int) -> int:
    """Return the bytes of a matrix [n, k] in tiles of `row_tile` rows by 4 columns, 16 bytes each.

    Rows are padded to whole tiles, columns to a multiple of 16.
    """
    return _up(n, row_tile) // row_tile * _up(k, COLUMN_TILE) * LANES


def tiles_of(matrix: NDArray[np.int8], row_tile: int) -> NDArray[np.int8]:
    """Return a matrix padded with zeros, shape (row tiles, fields, lanes, steps, 4).

    Element [t, f, l, s, i] is row row_tile * t + 4 f + l, column 4 s + i.
    """
    rows, k = matrix.shape
    padded = np.zeros((_up(rows, row_tile), _up(k, COLUMN_TILE)), np.int8)
    padded[:rows, :k] = matrix
    return padded.reshape(-1, row_tile // LANES, LANES, padded.shape[1] // STEP, STEP)


def tile_bytes(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return bytes of shape (row tiles, lanes, steps, 4) in the order of the file."""
    return np.ascontiguousarray(codes.transpose(0, 2, 1, 3)).reshape(-1)


def load_layout(name: str) -> Layout:
    """Return the layout module of that name; targets and passes name it, so a typo is ours."""
    return cast(Layout, importlib.import_module(f"{__name__}.{name}"))


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
