"""A matrix read by rows, in any blocks and any order, is the matrix."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport.checkpoints import matrix as matrix_module
from bitexport.checkpoints.matrix import Kind, Matrix

ROWS, COLUMNS = 53, 7
WHOLE = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)


def whole() -> Matrix:
    """Return a matrix whose every element is another number."""
    return Matrix("whole", Kind.FLOAT, ROWS, COLUMNS, lambda start, stop: WHOLE[start:stop])


@pytest.mark.parametrize("limit", [1, 28, 100, 448, 4 << 20])
@pytest.mark.parametrize("multiple", [1, 4, 16])
def test_blocks_are_the_matrix_and_begin_at_multiples(
    limit: int, multiple: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix_module, "BLOCK_BYTES", limit)
    blocks = list(whole().blocks(multiple))
    assert [start % multiple for start, _ in blocks] == [0] * len(blocks)
    assert np.concatenate([rows for _, rows in blocks]).tobytes() == WHOLE.tobytes()
    largest = max(rows.nbytes for _, rows in blocks)
    assert largest <= max(limit, multiple * COLUMNS * 4)


def test_every_bfloat16_is_widened_to_the_float_with_its_bits() -> None:
    patterns = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    matrix = Matrix("bf16", Kind.BFLOAT16, 256, 256, lambda start, stop: patterns[start:stop])
    widened = matrix.floats(0, 256).view(np.uint32)
    np.testing.assert_array_equal(widened, patterns.astype(np.uint32) << 16)
