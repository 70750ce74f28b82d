"""q8: a float matrix as int8 rows and one scale per row (NUMERICS.md, section 7)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitexport.checkpoints.matrix import Kind, Matrix


def quantized(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """Return the int8 matrix [rows, columns] and its scales, a column of `rows` float32."""

    def read_values(start: int, stop: int) -> NDArray[np.int8]:
        rows = matrix.floats(start, stop)
        values = np.rint(rows / _scales(rows))
        return np.asarray(np.clip(values, -127, 127), np.int8)

    def read_scales(start: int, stop: int) -> NDArray[np.float32]:
        return _scales(matrix.floats(start, stop))

    values = Matrix(matrix.name, Kind.INT8, matrix.rows, matrix.columns, read_values)
    scales = Matrix(f"{matrix.name}.scale", Kind.FLOAT, matrix.rows, 1, read_scales)
    return values, scales


def _scales(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), np.float32(1e-10))
    return np.asarray(largest / np.float32(127), np.float32)
