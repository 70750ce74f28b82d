"""Layouts: the bytes are those that FORMAT.md, section 3.3, writes down, weight by weight."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitexport.layouts import load_layout
from bitexport.paths import targets_root
from bitexport_ref.layouts import LAYOUTS, unpack

BITS = {"p2r": 2, "b1r": 1, "q4r": 4, "p2b": 2, "t5x3": 5 / 3, "p16": 8 / 5}
NAMES = list(BITS)
TRITS = (-1, 0, 1)
VALUES = {
    "p2r": TRITS,
    "b1r": (-1, 1),
    "q4r": tuple(range(-8, 8)),
    "p2b": TRITS,
    "t5x3": TRITS,
    "p16": TRITS,
}
SIZES = [(1, 1), (1, 16), (16, 1), (3, 5), (7, 9), (8, 16), (15, 17), (16, 16), (17, 15), (32, 4),
         (33, 64), (48, 20), (64, 100), (100, 36), (5, 131)]  # fmt: skip


def random_weights(name: str, n: int, k: int) -> NDArray[np.int8]:
    """Return a seeded random matrix of what the layout holds."""
    draw = np.random.default_rng(1000 * n + k)
    return draw.choice(np.array(VALUES[name], np.int8), (n, k))


def place_p2r(weight: int | None, row: int) -> tuple[int, int]:
    """Return the lane of a row and the bits it adds to a byte; padding is None."""
    field, w = row % 16 // 4, weight or 0
    return row % 4, (w & 3 if field == 3 else w + 1) << 2 * field


def place_b1r(weight: int | None, row: int) -> tuple[int, int]:
    """Return the same for one bit a weight: 1 for +1, 0 for -1 and for padding."""
    return row % 4, int(weight == 1) << row % 32 // 4


def place_q4r(weight: int | None, row: int) -> tuple[int, int]:
    """Return the same for four bits: w + 8 below, two's complement above."""
    w = weight or 0
    return row % 4, (w & 15) << 4 if row % 8 // 4 else w + 8


PLACES = {"p2r": (16, place_p2r), "b1r": (32, place_b1r), "q4r": (8, place_q4r)}


def transcribed_p2b(weights: NDArray[np.int8]) -> bytes:
    """Place the indices of p2b: four of three columns each, in three bytes of a row."""
    n, k = weights.shape
    rows, columns = 16 * -(-n // 16), 24 * -(-k // 24)
    data = bytearray(rows * columns // 4)

    def index_at(row: int, column: int) -> int:
        w = [int(weights[row, c]) if row < n and c < k else 0 for c in range(column, column + 3)]
        return 9 * (w[2] + 1) + 3 * (w[1] + 1) + (w[0] + 1)

    for row in range(rows):
        for column in range(0, columns, 12):
            index = [index_at(row, column + 3 * i) for i in range(4)]
            at = 48 * (row // 16 * (columns // 12) + column // 12) + row % 16
            data[at] = index[0] + 32 * (index[3] % 8)
            data[at + 16] = index[1] + 64 * (index[3] // 8)
            data[at + 32] = index[2]
    return bytes(data)


def transcribed_t5x3(weights: NDArray[np.int8]) -> bytes:
    """Place the codes of t5x3: eight of three rows each, in five bytes of a lane and column."""
    n, k = weights.shape
    rows, columns = 12 * -(-n // 12), 32 * -(-k // 32)
    data = bytearray(rows * columns * 5 // 24)

    def code_at(row: int, column: int) -> int:
        w = [
            int(weights[r, column]) if r < n and column < k else 0 for r in (row, row + 4, row + 8)
        ]
        return 9 * (w[2] + 1) + 3 * (w[1] + 1) + (w[0] + 1)

    for tile in range(rows // 12 * (columns // 32)):
        first_row, first_column = tile // (columns // 32) * 12, tile % (columns // 32) * 32
        for place in range(16):
            row, column = first_row + place // 4, first_column + place % 4
            code = [code_at(row, column + 4 * group) for group in range(8)]
            low = [code[5] & 7, code[5] >> 3 << 1 | code[7] >> 3 & 1, code[6] & 7,
                   code[6] >> 3 << 1 | code[7] >> 4, code[7] & 7]  # fmt: skip
            for byte in range(5):
                data[80 * tile + 16 * byte + place] = code[byte] << 3 | low[byte]
    return bytes(data)


def transcribed_p16(weights: NDArray[np.int8]) -> bytes:
    """Place the digits of p16: five columns of a row in a byte."""
    n, k = weights.shape
    rows, columns = 8 * -(-n // 8), 10 * -(-k // 10)
    data = bytearray(rows * columns // 5)
    for row in range(rows):
        for column in range(columns):
            w = int(weights[row, column]) if row < n and column < k else 0
            tile = row // 8 * (columns // 10) + column // 10
            data[16 * tile + 8 * (column % 10 // 5) + row % 8] += 3 ** (column % 5) * (w + 1)
    return bytes(data)


OTHERS = {"p2b": transcribed_p2b, "t5x3": transcribed_t5x3, "p16": transcribed_p16}


def transcribed(name: str, weights: NDArray[np.int8]) -> bytes:
    """Place one weight after the other where the text of FORMAT.md says, as slowly as it reads."""
    if name in OTHERS:
        return OTHERS[name](weights)
    tile_rows, place = PLACES[name]
    n, k = weights.shape
    rows, columns = tile_rows * -(-n // tile_rows), 16 * -(-k // 16)
    data = bytearray(rows // tile_rows * columns * 4)
    for row in range(rows):
        for column in range(columns):
            lane, bits = place(int(weights[row, column]) if row < n and column < k else None, row)
            tile = row // tile_rows * (columns // 4) + column // 4
            data[16 * tile + 4 * lane + column % 4] |= bits
    return bytes(data)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("n", "k"), SIZES)
def test_pack_is_the_format_s_text(name: str, n: int, k: int) -> None:
    weights, layout = random_weights(name, n, k), load_layout(name)
    assert layout.pack(weights).tobytes() == transcribed(name, weights)
    assert len(transcribed(name, weights)) == layout.packed_bytes(n, k)


@settings(deadline=None, max_examples=40)
@given(name=st.sampled_from(NAMES), n=st.integers(1, 70), k=st.integers(1, 70), data=st.data())
def test_any_matrix_is_packed_as_the_text_says_and_read_back(
    name: str, n: int, k: int, data: Any
) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    draw = np.random.default_rng(seed)
    weights = draw.choice(np.array(VALUES[name], np.int8), (n, k))
    packed = load_layout(name).pack(weights)
    assert packed.tobytes() == transcribed(name, weights)
    np.testing.assert_array_equal(unpack(packed, LAYOUTS[name], n=n, k=k), weights)


@pytest.mark.parametrize("weight", [-1, 0, 1])
def test_a_byte_of_p2r_is_the_sum_that_the_format_gives(weight: int) -> None:
    data = load_layout("p2r").pack(np.full((16, 16), weight, np.int8)).view(np.int8)
    w = weight
    assert set(data.tolist()) == {64 * w + 16 * (w + 1) + 4 * (w + 1) + (w + 1)}


@pytest.mark.parametrize("low", range(-8, 8))
@pytest.mark.parametrize("high", [-8, -1, 0, 7])
def test_a_byte_of_q4r_is_the_sum_that_the_format_gives(low: int, high: int) -> None:
    weights = np.repeat([low, high], 4)[:, None].repeat(16, axis=1).astype(np.int8)
    data = load_layout("q4r").pack(weights).view(np.int8)
    assert set(data.tolist()) == {16 * high + (low + 8)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("n", "k"), [(48, 20), (100, 36), (33, 64), (17, 15)])
@pytest.mark.parametrize("tiles", [1, 2, 3])
def test_packed_blocks_of_rows_are_the_packed_matrix(name: str, n: int, k: int, tiles: int) -> None:
    layout = load_layout(name)
    weights, step = random_weights(name, n, k), tiles * layout.ROW_TILE
    blocks = b"".join(layout.pack(weights[at : at + step]).tobytes() for at in range(0, n, step))
    assert blocks == layout.pack(weights).tobytes()


def test_no_fourth_code_of_p2r_is_ever_written() -> None:
    data = load_layout("p2r").pack(random_weights("p2r", 64, 64))
    fields = data[:, None] >> np.array([0, 2, 4, 6], np.uint8) & np.uint8(3)
    assert set(fields[:, :3].flat) == {0, 1, 2}
    assert set(fields[:, 3]) == {0, 1, 3}


def test_no_code_above_26_of_t5x3_is_ever_written() -> None:
    packed = load_layout("t5x3").pack(np.ones((12, 32), np.int8)).reshape(5, 16)
    assert (packed[::2] == 26 << 3 | 2).all()  # every code is 26
    assert (packed[1::2] == 26 << 3 | 7).all()


def test_no_byte_above_242_of_p16_is_ever_written() -> None:
    assert load_layout("p16").pack(np.ones((8, 10), np.int8)).tolist() == [242] * 16


@pytest.mark.parametrize("name", NAMES)
def test_packing_leaves_the_weights_as_they_are(name: str) -> None:
    weights = random_weights(name, 32, 16)
    weights.flags.writeable = False
    load_layout(name).pack(weights)


def test_layouts_have_the_numbers_and_sizes_of_the_format() -> None:
    text = (targets_root() / "FORMAT.md").read_text(encoding="utf-8")
    specified = dict(re.findall(r"^\*\*(\d+), (\w+)\.\*\* \w+", text, re.MULTILINE))
    del specified["0"]
    layouts = {str(load_layout(name).LAYOUT_ID): name for name in NAMES}
    assert layouts == specified
    for name in NAMES:
        layout = load_layout(name)
        assert name.upper() == layout.SUFFIX
        assert layout.packed_bytes(96, 480) * 8 == 96 * 480 * BITS[name]
