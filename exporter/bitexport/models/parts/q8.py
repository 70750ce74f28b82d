"""q8: a float matrix as int8 rows and one scale per row (NUMERICS.md, section 7)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.checkpoints.weights import Weights
from bitexport.models.parts.stored import widened


def quantized(matrix: Matrix) -> Weights:
    """Return the int8 matrix [n, k] and its scales [1, n], read from the floats when asked for."""
    floats = widened(matrix)

    def read_values(start: int, stop: int) -> NDArray[np.int8]:
        rows = matrix.floats(start, stop)
        values = np.rint(rows / _scales(rows))
        return np.asarray(np.clip(values, -127, 127), np.int8)

    def read_scales(start: int, stop: int) -> NDArray[np.float32]:
        scales = [_scales(np.asarray(rows, np.float32)) for _, rows in floats.blocks()]
        return np.concatenate(scales).reshape(1, -1)[start:stop]

    return Weights(
        values=Matrix(matrix.name, Kind.INT8, matrix.rows, matrix.columns, read_values),
        scale=Matrix(f"{matrix.name}.scale", Kind.FLOAT, 1, matrix.rows, read_scales),
    )


def _scales(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), np.float32(1e-10))
    return np.asarray(largest / np.float32(127), np.float32)
