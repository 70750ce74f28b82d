"""Which weights of a matrix share a scale: the coarsest structure that loses nothing.

A scale matrix is [groups, n], with 1 in place of groups and of n where all are equal; columns that
share a scale come in groups of one size (NUMERICS.md, "Groups").
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

LARGEST_GROUP = 4096  # of an exact sum (NUMERICS.md, section 4)
FIRST_ROWS = 64


@dataclasses.dataclass(frozen=True)
class Shared:
    """The scales of a matrix [n, k]."""

    scale: NDArray[np.float32]
    """[groups, n], or 1 in place of groups, of n or of both."""
    group: int
    """Columns that share a scale; 0: a row has one."""


def coarsest(fine: NDArray[np.float32], size: int, k: int, *, binary: bool) -> Shared:
    """Return the structure of the scales fine [n, ceil(k / size)], each of `size` columns.

    Tried in this order: one scale; one for each row (row blocks are such, too); one for each group
    of columns, shared by the rows; one for each group of each row.  Of groups, the largest that
    divides k evenly, or `size` times a power of two.  Where the weights are ternary, 0 says that a
    group is all zeros: it has no scale of its own and takes that of its neighbours, or the largest
    of the matrix.  In a binary matrix 0 is a scale.
    """
    largest = np.float32(fine.max(initial=0))
    spare = largest if largest > 0 or binary else np.float32(1)
    one = _common(fine.reshape(1, -1), binary)
    if one is not None:
        return Shared(_filled(one.reshape(1, 1), spare, binary), 0)
    row = _common(fine, binary)
    if row is not None:
        return Shared(_filled(row.reshape(1, -1), spare, binary), 0)
    groups = _groups(fine.shape[1], size, k)
    column = _common(fine.T, binary)
    if column is not None:
        for times in groups:
            shared = _common(_split(column.reshape(1, -1), times), binary)
            if shared is not None:
                return Shared(_filled(shared.reshape(-1, 1), spare, binary), times * size)
    for times in groups:
        first = _common(_split(fine[:FIRST_ROWS], times), binary)
        each = None if first is None else _common(_split(fine, times), binary)
        if each is not None:
            found = each.reshape(fine.shape[0], -1).T
            return Shared(_filled(found, spare, binary), times * size)
    raise AssertionError("groups of one size are always there")


def _groups(count: int, size: int, k: int) -> list[int]:
    """Return how many of `count` groups may be taken together, most first."""
    fits = [times for times in range(1, count) if times * size <= LARGEST_GROUP]
    even = {times for times in fits if k % (times * size) == 0}
    return sorted(even | {times for times in fits if times & (times - 1) == 0} | {1}, reverse=True)


def _split(fine: NDArray[np.float32], times: int) -> NDArray[np.float32]:
    """Return rows of `times` neighbours each; a last one that is short repeats its last scale."""
    short = -fine.shape[1] % times
    whole = np.pad(fine, ((0, 0), (0, short)), mode="edge") if short else fine
    return whole.reshape(-1, times)


def _common(rows: NDArray[np.float32], binary: bool) -> NDArray[np.float32] | None:
    """Return the one scale of each row, 0 where it has none, or None if a row has several."""
    most = rows.max(axis=1)
    same = rows == most[:, None]
    if not binary:
        same |= rows == 0
    return np.asarray(most, np.float32) if same.all() else None


def _filled(scale: NDArray[np.float32], spare: np.float32, binary: bool) -> NDArray[np.float32]:
    return scale if binary else np.where(scale == 0, spare, scale)
