"""q8: each row as int8 and one scale, by NUMERICS.md, section 7."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bitexport.checkpoints import matrix as matrix_module
from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.models.parts.q8 import quantized


def matrix_of(rows: NDArray[np.float32]) -> Matrix:
    """Return a float matrix."""
    count, columns = rows.shape
    return Matrix("x", Kind.FLOAT, count, columns, lambda start, stop: rows[start:stop])


@pytest.mark.parametrize("limit", [1, 1000, 4 << 20])
def test_every_element_is_the_specified_one(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_module, "BLOCK_BYTES", limit)
    rows = np.random.default_rng(4).standard_normal((40, 24)).astype(np.float32)
    weights = quantized(matrix_of(rows))
    assert weights.scale is not None
    assert (weights.scale.rows, weights.scale.columns, weights.group) == (1, 40, 0)
    scales = weights.scale.read_rows(0, 1)[0]
    f32 = np.float32
    for at, row in enumerate(rows):
        t = max(*(abs(w) for w in row), f32(1e-10)) / f32(127)
        assert scales[at].tobytes() == f32(t).tobytes()
        codes = [min(max(round(float(w / t)), -127), 127) for w in row]
        assert weights.values.read_rows(at, at + 1).tolist() == [codes]


def test_a_row_of_zeros_stays_zero() -> None:
    weights = quantized(matrix_of(np.zeros((1, 8), np.float32)))
    assert not weights.values.read_rows(0, 1).any()
    assert weights.scale is not None
    assert weights.scale.read_rows(0, 1)[0, 0] == np.float32(1e-10) / np.float32(127)


def test_the_largest_of_a_row_is_127() -> None:
    rows = np.array([[3.5, -7.25], [1e30, -1e29], [-1e-9, 0]], np.float32)
    values = quantized(matrix_of(rows)).values
    assert np.abs(values.read_rows(0, 3)).max(axis=1).tolist() == [127, 127, 127]
