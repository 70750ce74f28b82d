"""A stored matrix: its chunks are its bytes, however small the blocks it is read in."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport.checkpoints import matrix as matrix_module
from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.layouts import load_layout
from bitexport.models.parts.stored import StoredMatrix


@pytest.mark.parametrize("limit", [1, 1000, 4 << 20])
@pytest.mark.parametrize(
    ("kind", "dtype", "layout"),
    [
        (Kind.FLOAT, np.float32, "plain"),
        (Kind.FLOAT16, np.float16, "plain"),
        (Kind.BFLOAT16, np.uint16, "plain"),
        (Kind.INT8, np.int8, "plain"),
        (Kind.TRITS, np.int8, "p2r"),
        (Kind.SIGNS, np.int8, "b1r"),
        (Kind.INT4, np.int8, "q4r"),
    ],
)
def test_chunks_are_the_bytes(
    kind: Kind, dtype: type[np.generic], layout: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = np.random.default_rng(5).integers(-1, 2, (53, 21)).astype(dtype)
    matrix = Matrix("x", kind, 53, 21, lambda start, stop: whole[start:stop])
    monkeypatch.setattr(matrix_module, "BLOCK_BYTES", limit)
    stored = StoredMatrix(matrix, (53, 21), layout)
    data = b"".join(stored.chunks())
    packed = whole if layout == "plain" else load_layout(layout).pack(whole.astype(np.int8))
    assert data == packed.tobytes()
    assert len(data) == stored.nbytes
