"""p2r: the bytes are those that FORMAT.md, section 3.3, writes down, weight by weight."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bitexport.layouts import load_layout
from bitexport.layouts.p2r import LAYOUT_ID, ROW_TILE, pack, packed_bytes
from bitexport_ref.ops.ternary_matmul import unpack_p2r

SIZES = [(1, 1), (1, 16), (16, 1), (3, 5), (15, 17), (16, 16), (17, 15), (32, 4), (33, 64),
         (48, 20), (64, 100), (100, 36), (5, 131)]  # fmt: skip


def random_trits(n: int, k: int) -> NDArray[np.int8]:
    """Return a seeded random matrix of trits."""
    return np.random.default_rng(1000 * n + k).integers(-1, 2, (n, k)).astype(np.int8)


def transcribed(trits: NDArray[np.int8]) -> bytes:
    """Place one weight after the other where the text of FORMAT.md says, as slowly as it reads."""
    n, k = trits.shape
    rows, columns = 16 * -(-n // 16), 16 * -(-k // 16)
    data = bytearray(rows * columns // 4)
    for row in range(rows):
        for column in range(columns):
            weight = int(trits[row, column]) if row < n and column < k else 0
            tile = row // 16 * (columns // 4) + column // 4
            lane, field = row % 4, row % 16 // 4
            code = weight & 3 if field == 3 else weight + 1
            data[16 * tile + 4 * lane + column % 4] |= code << 2 * field
    return bytes(data)


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_pack_is_the_format_s_text(n: int, k: int) -> None:
    trits = random_trits(n, k)
    assert pack(trits).tobytes() == transcribed(trits)
    assert len(transcribed(trits)) == packed_bytes(n, k)


@pytest.mark.parametrize("weight", [-1, 0, 1])
def test_a_byte_is_the_sum_that_the_format_gives(weight: int) -> None:
    data = pack(np.full((16, 16), weight, np.int8)).view(np.int8)
    w = weight
    assert set(data.tolist()) == {64 * w + 16 * (w + 1) + 4 * (w + 1) + (w + 1)}


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_the_reference_unpacks_what_was_packed(n: int, k: int) -> None:
    trits = random_trits(n, k)
    np.testing.assert_array_equal(unpack_p2r(pack(trits), n=n, k=k), trits)


@pytest.mark.parametrize(("n", "k"), [(48, 20), (100, 36), (33, 64), (17, 15)])
@pytest.mark.parametrize("tiles", [1, 2, 3])
def test_packed_blocks_of_rows_are_the_packed_matrix(n: int, k: int, tiles: int) -> None:
    trits, step = random_trits(n, k), tiles * ROW_TILE
    blocks = b"".join(pack(trits[at : at + step]).tobytes() for at in range(0, n, step))
    assert blocks == pack(trits).tobytes()


def test_no_fourth_code_is_ever_written() -> None:
    data = pack(random_trits(64, 64))
    fields = data[:, None] >> np.array([0, 2, 4, 6], np.uint8) & np.uint8(3)
    assert set(fields[:, :3].flat) == {0, 1, 2}
    assert set(fields[:, 3]) == {0, 1, 3}


def test_packing_leaves_the_trits_as_they_are() -> None:
    trits = random_trits(16, 16)
    trits.flags.writeable = False
    pack(trits)


def test_the_layout_is_found_by_the_name_that_targets_use() -> None:
    layout = load_layout("p2r")
    assert (layout.LAYOUT_ID, layout.SUFFIX, layout.BITS_PER_WEIGHT) == (LAYOUT_ID, "P2R", 2.0)
