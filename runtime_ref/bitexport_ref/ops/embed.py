"""Embed: the table's row for each token, widened to f32 (NUMERICS.md, Embed)."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import TokenOutside
from bitexport_ref.numerics import F32, bf16_to_f32, f16_to_f32
from bitexport_ref.stored import Rows

Ids = NDArray[np.int32] | NDArray[np.int64]
Element = TypeVar("Element", bound=np.generic)


def embed_f32(ids: Ids, table: Rows[np.float32]) -> F32:
    """Look tokens up in an f32 table: (...), (vocab, columns) -> (..., columns)."""
    return picked_rows(ids, table)


def embed_f16(ids: Ids, table: Rows[np.float16]) -> F32:
    """Look tokens up in an f16 table: (...), (vocab, columns) -> (..., columns)."""
    return f16_to_f32(picked_rows(ids, table))


def embed_bf16(ids: Ids, table: Rows[np.uint16]) -> F32:
    """Look tokens up in a bf16 table, given as bits: (...), (vocab, columns) -> (..., columns)."""
    return bf16_to_f32(picked_rows(ids, table))


def embed_q8(ids: Ids, table: Rows[np.int8], scale: F32) -> F32:
    """Return float(table[id]) * scale[id]: (...), (vocab, columns), (vocab) -> (..., columns)."""
    return picked_rows(ids, table).astype(np.float32) * scale[ids][..., None]


def picked_rows(ids: Ids, table: Rows[Element]) -> NDArray[Element]:
    """Read the rows that ids name, each once; an id outside the table is an error."""
    outside = (ids < 0) | (ids >= table.shape[0])
    if outside.any():
        message = f"token {int(ids[outside][0])} is outside the vocabulary of {table.shape[0]}"
        raise TokenOutside(message)
    named, places = np.unique(ids, return_inverse=True)
    if named.size == 0:
        return table[:0].reshape(*ids.shape, table.shape[1])
    rows = np.concatenate([table[int(row) : int(row) + 1] for row in named])
    return rows[places.reshape(ids.shape)]
