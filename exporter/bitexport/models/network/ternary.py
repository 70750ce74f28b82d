"""Which floats are trits or signs times a scale; of others, how far they are from that."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from bitexport.checkpoints.matrix import Kind

F32 = NDArray[np.float32]

ALMOST = 0.1
"""Weights that are no farther from ternary ones, of their row's scale, are called almost that."""
MOST_ROWS = 4


@dataclasses.dataclass(frozen=True)
class Trits:
    """A matrix [n, k] of trits, or signs, and the scale of each row."""

    values: NDArray[np.int8]
    scale: F32
    """[1] or [n]."""

    @property
    def kind(self) -> Kind:
        """Signs where no weight is 0."""
        return Kind.SIGNS if np.all(self.values) else Kind.TRITS


def trits_of(weight: F32) -> Trits | None:
    """Return what floats [n, k] are trits of: rows in {-s, 0, s}; None if they are not."""
    sizes = np.abs(weight)
    scale = sizes.max(axis=1)
    if not np.all((sizes == 0) | (sizes == scale[:, None])):
        return None
    some = scale > 0
    spare = scale[some][0] if some.any() else np.float32(1)
    scale = np.where(some, scale, spare).astype(np.float32)
    shared = scale[:1] if np.all(scale == scale[0]) else scale
    return Trits(np.sign(weight).astype(np.int8), shared)


def what_is_wrong(weight: F32) -> str:
    """Say how a matrix [n, k] fails to be ternary: which rows, and how far they are from it."""
    sizes = np.abs(weight)
    large = sizes > sizes.max(axis=1, keepdims=True) / 2
    scale = np.where(large, sizes, 0).sum(axis=1) / np.maximum(large.sum(axis=1), 1)
    scale = np.where(scale > 0, scale, 1)[:, None]
    far = (np.minimum(sizes, np.abs(sizes - scale)) / scale).max(axis=1)
    rows = np.flatnonzero([trits_of(row[None]) is None for row in weight])
    if far.max() > ALMOST:
        row = int(rows[np.argmax(far[rows])])
        count = len(np.unique(sizes[row][sizes[row] > 0]))
        more = f"; {len(rows) - 1} more rows are not" if len(rows) > 1 else ""
        return f"are not ternary: row {row} has {count} magnitudes{more}"
    worst = rows[np.argsort(-far[rows], kind="stable")][:MOST_ROWS]
    first, *others = (f"{row}" for row in worst)
    named = [f"row {first} is off by {100 * far[worst[0]]:.2g} % of its scale"]
    named += [f"row {row} by {100 * far[int(row)]:.2g} %" for row in others]
    more = f", and {len(rows) - len(worst)} more" if len(rows) > len(worst) else ""
    return f"are almost ternary, but not quite: {', '.join(named)}{more}"
