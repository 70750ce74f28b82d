"""q4: integers from -8 to 7 and a float16 scale per 32 columns, by NUMERICS.md, section 7."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bitexport.checkpoints import matrix as matrix_module
from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.errors import CheckpointError
from bitexport.models.parts.q4 import quantized


def matrix_of(rows: NDArray[np.float32]) -> Matrix:
    """Return a float matrix."""
    count, columns = rows.shape
    return Matrix("x", Kind.FLOAT, count, columns, lambda start, stop: rows[start:stop])


def both(rows: NDArray[np.float32]) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Return values (n, k) and scales (groups, n) of a matrix."""
    weights = quantized(matrix_of(rows))
    assert weights.scale is not None
    values = weights.values.read_rows(0, weights.values.rows)
    return values, weights.scale.read_rows(0, weights.scale.rows)


@pytest.mark.parametrize("columns", [1, 31, 32, 33, 100])
@pytest.mark.parametrize("limit", [1, 1000, 4 << 20])
def test_every_element_is_the_specified_one(
    columns: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix_module, "BLOCK_BYTES", limit)
    rows = np.random.default_rng(4).standard_normal((21, columns)).astype(np.float32)
    values, scales = both(rows)
    assert scales.dtype == np.float16
    assert scales.shape == (-(-columns // 32), 21)
    assert values.shape == rows.shape
    for at, row in enumerate(rows):
        for group in range(len(scales)):
            part = row[32 * group : 32 * (group + 1)]
            m = max(part, key=abs)  # of equal ones the first
            d = np.float16(m / np.float32(-8))
            assert scales[group, at].tobytes() == d.tobytes()
            codes = [min(max(round(float(w / np.float32(d))), -8), 7) for w in part]
            assert values[at, 32 * group : 32 * (group + 1)].tolist() == codes


def test_of_two_largest_the_first_gives_the_sign() -> None:
    values, scales = both(np.array([[0.5, 4, -4], [0.5, -4, 4]], np.float32))
    assert scales.tolist() == [[-0.5, 0.5]]
    assert values.tolist() == [[-1, -8, 7], [1, -8, 7]]


@pytest.mark.parametrize("size", [0.0, 1e-9])
def test_a_group_whose_scale_rounds_to_zero_is_zero(size: float) -> None:
    values, scales = both(np.full((2, 40), size, np.float32))
    assert not values.any()
    assert not scales.any()


def test_a_subnormal_scale_clips() -> None:
    values, scales = both(np.array([[-6e-7, 6e-7]], np.float32))
    assert scales[0, 0] == np.float16(6e-8)
    assert values.tolist() == [[-8, 7]]


def test_a_weight_too_large_for_a_float16_scale_is_refused() -> None:
    weights = quantized(matrix_of(np.array([[1.0, 524288.0 * 2]], np.float32)))
    assert weights.scale is not None
    for part in (weights.values, weights.scale):
        with pytest.raises(CheckpointError, match=r"`x` holds 1048576\.0, which no float16 scale"):
            part.read_rows(0, 1)
