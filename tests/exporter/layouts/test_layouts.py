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

BITS = {"p2r": 2, "b1r": 1, "q4r": 4}
NAMES = ["p2r", "b1r", "q4r"]
VALUES = {"p2r": (-1, 0, 1), "b1r": (-1, 1), "q4r": tuple(range(-8, 8))}
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


def transcribed(name: str, weights: NDArray[np.int8]) -> bytes:
    """Place one weight after the other where the text of FORMAT.md says, as slowly as it reads."""
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
        assert layout.packed_bytes(64, 64) * 8 == 64 * 64 * BITS[name]
