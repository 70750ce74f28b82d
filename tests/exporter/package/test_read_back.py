"""Every kind of matrix is read back as the reference reads it; one wrong bit is found and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bitexport.checkpoints import matrix as matrix_module
from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.errors import MismatchError
from bitexport.models.parts.stored import StoredMatrix
from bitexport.package.read_back import read_back

RNG = np.random.default_rng(5)
ROWS, COLUMNS = 75, 37  # no multiple of a tile
NUMBERS: dict[str, tuple[Kind, str, NDArray[np.generic]]] = {
    "trits": (Kind.TRITS, "p2r", RNG.integers(-1, 2, (ROWS, COLUMNS)).astype(np.int8)),
    "trits_p2b": (Kind.TRITS, "p2b", RNG.integers(-1, 2, (ROWS, COLUMNS)).astype(np.int8)),
    "trits_p16": (Kind.TRITS, "p16", RNG.integers(-1, 2, (ROWS, COLUMNS)).astype(np.int8)),
    "trits_t5x3": (Kind.TRITS, "t5x3", RNG.integers(-1, 2, (ROWS, COLUMNS)).astype(np.int8)),
    "signs": (Kind.SIGNS, "b1r", RNG.choice([-1, 1], (ROWS, COLUMNS)).astype(np.int8)),
    "signs_as_trits": (Kind.SIGNS, "p2r", RNG.choice([-1, 1], (ROWS, COLUMNS)).astype(np.int8)),
    "int4": (Kind.INT4, "q4r", RNG.integers(-8, 8, (ROWS, COLUMNS)).astype(np.int8)),
    "int8": (Kind.INT8, "plain", RNG.integers(-127, 128, (ROWS, COLUMNS)).astype(np.int8)),
    "float": (Kind.FLOAT, "plain", RNG.standard_normal((ROWS, COLUMNS)).astype(np.float32)),
    "float16": (Kind.FLOAT16, "plain", RNG.standard_normal((ROWS, COLUMNS)).astype(np.float16)),
    "bfloat16": (Kind.BFLOAT16, "plain", RNG.integers(0, 1 << 14, (ROWS, COLUMNS), np.uint16)),
}
OFFSET = 64


@pytest.fixture(params=NUMBERS)
def stored(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> StoredMatrix:
    """Return a matrix of each kind in its layout, read in several blocks."""
    kind, layout, numbers = NUMBERS[request.param]
    monkeypatch.setattr(matrix_module, "BLOCK_BYTES", 4 * COLUMNS * 32)
    matrix = Matrix("w", kind, ROWS, COLUMNS, lambda start, stop: numbers[start:stop])
    assert len(list(matrix.blocks(32))) == 3
    return StoredMatrix(matrix, (ROWS, COLUMNS), layout)


def write(path: Path, stored: StoredMatrix) -> bytearray:
    data = bytearray(bytes(OFFSET) + b"".join(stored.chunks()))
    assert len(data) == OFFSET + stored.nbytes
    path.write_bytes(data)
    return data


def test_what_was_written_is_what_is_read(stored: StoredMatrix, tmp_path: Path) -> None:
    write(tmp_path / "model.bitx", stored)
    seen: list[int] = []
    read_back({"w": stored}, tmp_path / "model.bitx", {"w": OFFSET}, seen.append)
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert seen[-1] == stored.nbytes


@pytest.mark.parametrize("place", [0.0, 0.45, 0.9])
def test_one_wrong_bit_is_found(place: float, stored: StoredMatrix, tmp_path: Path) -> None:
    """In the last row there are padding bits, which are nobody's number."""
    data = write(tmp_path / "model.bitx", stored)
    data[OFFSET + int(place * stored.nbytes)] ^= 1
    (tmp_path / "model.bitx").write_bytes(data)
    with pytest.raises(MismatchError, match=r"reads other numbers in rows .* of `w`") as refusal:
        read_back({"w": stored}, tmp_path / "model.bitx", {"w": OFFSET}, lambda done: None)
    assert stored.layout in str(refusal.value.hint)
