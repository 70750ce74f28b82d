"""q8: each row as int8 and one scale, by NUMERICS.md, section 7."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.models.parts.q8 import quantized


def matrix_of(rows: NDArray[np.float32]) -> Matrix:
    """Return a float matrix."""
    count, columns = rows.shape
    return Matrix("x", Kind.FLOAT, count, columns, lambda start, stop: rows[start:stop])


def test_every_element_is_the_specified_one() -> None:
    rows = np.random.default_rng(4).standard_normal((40, 24)).astype(np.float32)
    values, scales = quantized(matrix_of(rows))
    f32 = np.float32
    for at, row in enumerate(rows):
        t = max(*(abs(w) for w in row), f32(1e-10)) / f32(127)
        assert scales.read_rows(at, at + 1).tobytes() == f32(t).tobytes()
        codes = [min(max(round(float(w / t)), -127), 127) for w in row]
        assert values.read_rows(at, at + 1).tolist() == [codes]


def test_a_row_of_zeros_stays_zero() -> None:
    values, scales = quantized(matrix_of(np.zeros((1, 8), np.float32)))
    assert not values.read_rows(0, 1).any()
    assert scales.read_rows(0, 1)[0, 0] == np.float32(1e-10) / np.float32(127)


def test_the_largest_of_a_row_is_127() -> None:
    rows = np.array([[3.5, -7.25], [1e30, -1e29], [-1e-9, 0]], np.float32)
    values, _ = quantized(matrix_of(rows))
    assert np.abs(values.read_rows(0, 3)).max(axis=1).tolist() == [127, 127, 127]
