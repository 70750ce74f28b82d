"""Embed: the table's row for each token, widened to f32 (NUMERICS.md, Embed)."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import TokenOutside
from bitexport_ref.numerics import F32, S8, bf16_to_f32

Ids = NDArray[np.int32] | NDArray[np.int64]
Element = TypeVar("Element", bound=np.generic)


def embed_f32(ids: Ids, table: F32) -> F32:
    """Look tokens up in an f32 table: (...), (vocab, columns) -> (..., columns)."""
    return _rows(ids, table)


def embed_bf16(ids: Ids, table: NDArray[np.uint16]) -> F32:
    """Look tokens up in a bf16 table, given as bits: (...), (vocab, columns) -> (..., columns)."""
    return bf16_to_f32(_rows(ids, table))


def embed_q8(ids: Ids, table: S8, scale: F32) -> F32:
    """Return float(table[id]) * scale[id]: (...), (vocab, columns), (vocab) -> (..., columns)."""
    return _rows(ids, table).astype(np.float32) * _rows(ids, scale)[..., None]


def _rows(ids: Ids, table: NDArray[Element]) -> NDArray[Element]:
    """Pick rows of a table; an id outside it is an error."""
    outside = (ids < 0) | (ids >= table.shape[0])
    if outside.any():
        message = f"token {int(ids[outside][0])} is outside the vocabulary of {table.shape[0]}"
        raise TokenOutside(message)
    return table[ids]
