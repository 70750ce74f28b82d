"""q4: a float matrix as integers from -8 to 7, a float16 scale per 32 columns (NUMERICS.md, 7)."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.checkpoints.weights import Weights
from bitexport.errors import CheckpointError
from bitexport.models.parts.stored import widened

GROUP = 32


def quantized(matrix: Matrix) -> Weights:
    """Return the matrix [n, k] and its scales [groups, n], read from the floats when asked for."""
    groups = -(-matrix.columns // GROUP)

    def read_values(start: int, stop: int) -> NDArray[np.int8]:
        split = _split(matrix.floats(start, stop))
        scales = _scales(split, matrix.name).astype(np.float32)[..., None]
        values = np.divide(split, scales, out=np.zeros_like(split), where=scales != 0)
        codes = np.clip(np.rint(values), -8, 7).astype(np.int8)
        return codes.reshape(stop - start, -1)[:, : matrix.columns]

    def read_scales(start: int, stop: int) -> NDArray[np.float16]:
        return _all_scales(matrix)[start:stop]

    return Weights(
        values=Matrix(matrix.name, Kind.INT4, matrix.rows, matrix.columns, read_values),
        scale=Matrix(f"{matrix.name}.scale", Kind.FLOAT16, groups, matrix.rows, read_scales),
        group=GROUP,
    )


@functools.lru_cache(maxsize=1)
def _all_scales(matrix: Matrix) -> NDArray[np.float16]:
    """Return every scale, (groups, n): a few groups of all rows need all of the floats read."""
    blocks = [
        _scales(_split(np.asarray(rows)), matrix.name) for _, rows in widened(matrix).blocks()
    ]
    return np.ascontiguousarray(np.concatenate(blocks).T)


def _split(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows in groups, (rows, groups, 32), the last one padded with zeros."""
    count, columns = rows.shape
    padded = np.zeros((count, -(-columns // GROUP) * GROUP), np.float32)
    padded[:, :columns] = rows
    return padded.reshape(count, -1, GROUP)


def _scales(split: NDArray[np.float32], name: str) -> NDArray[np.float16]:
    """Return the scale of each group, (rows, groups)."""
    at = np.abs(split).argmax(axis=-1)[..., None]
    extremes = np.take_along_axis(split, at, axis=-1)[..., 0]
    with np.errstate(over="ignore"):
        scales = (extremes / np.float32(-8)).astype(np.float16)
    if not np.isfinite(scales).all():
        raise CheckpointError(
            f"`{name}` holds {np.abs(extremes).max()}, which no float16 scale of q4 reaches",
            hint="keep this matrix as it is stored, or use q8",
        )
    return scales
