"""layouts: every weight lies where FORMAT.md, section 3.3, says."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand
from bitexport_ref.layouts import LAYOUTS, PackedMatrix, unpack

SIZES = [(1, 1), (16, 16), (17, 16), (16, 17), (5, 40), (33, 50), (70, 20)]
TILE_ROWS = {"p2r": 16, "b1r": 32, "q4r": 8}


def weight_of_p2b(packed, k, row, column):
    """Read one weight of p2b: a digit of one of four indices in three bytes."""
    at = 48 * (row // 16 * 2 * -(-k // 24) + column // 12) + row % 16
    first, second, third = packed[at], packed[at + 16], packed[at + 32]
    indices = (first % 32, second % 32, third, first // 32 + second // 64 * 8)
    index = indices[column % 12 // 3]
    return index // 3 ** (column % 3) % 3 - 1 if index <= 26 else 0


def weight_of_t5x3(packed, k, row, column):
    """Read one weight of t5x3: a digit of one of eight codes in five bytes."""
    at = 80 * (row // 12 * -(-k // 32) + column // 32) + row % 4 * 4 + column % 4
    b = packed[at : at + 80 : 16]
    low = [each % 8 for each in b]
    codes = [each // 8 for each in b]
    codes += [low[0] + low[1] // 2 * 8, low[2] + low[3] // 2 * 8]
    codes += [low[4] + low[1] % 2 * 8 + low[3] % 2 * 16]
    code = codes[column % 32 // 4]
    return (code % 3, code // 3 % 3, code // 9)[row % 12 // 4] - 1


def weight_of_p16(packed, k, row, column):
    """Read one weight of p16: a digit of base 3, the last of five what is left."""
    byte = packed[16 * (row // 8 * -(-k // 10) + column // 10) + 8 * (column % 10 // 5) + row % 8]
    digit = byte // 3 ** (column % 5)
    return (digit if column % 5 == 4 else digit % 3) - 1


OTHERS = {"p2b": weight_of_p2b, "t5x3": weight_of_t5x3, "p16": weight_of_p16}


def byte_of(packed, layout, k, row, column):
    """Return the byte that holds a weight: tiles of some rows by 4 columns, 4l + i in a tile."""
    rows = TILE_ROWS[layout]
    tiles_per_band = 16 * -(-k // 16) // 4
    tile = (row // rows) * tiles_per_band + column // 4
    return packed[16 * tile + 4 * (row % 4) + column % 4], row % rows // 4


def weight_of(packed, layout, k, row, column):
    """Read one weight by the words of the format."""
    if layout in OTHERS:
        return OTHERS[layout](packed, k, row, column)
    byte, field = byte_of(packed, layout, k, row, column)
    if layout == "b1r":
        return 1 if byte >> field & 1 else -1
    if layout == "q4r":
        if field == 0:
            return (byte & 15) - 8
        return (byte >> 4) - 16 if byte >= 128 else byte >> 4
    code = byte >> (2 * field) & 3
    if field == 3:
        return code - 4 if code >= 2 else code
    return code - 1


def random_bytes(layout, n, k):
    size = LAYOUTS[layout].packed_bytes(n, k)
    return np.random.default_rng(n).integers(0, 256, size).astype(np.uint8)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("n", "k"), SIZES)
def test_every_weight_lies_where_the_format_says(layout, n, k):
    packed = random_bytes(layout, n, k)
    found = unpack(packed, LAYOUTS[layout], n=n, k=k)
    assert found.dtype == np.int8
    bytes_ = packed.tolist()
    expected = [
        [weight_of(bytes_, layout, k, row, column) for column in range(k)] for row in range(n)
    ]
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("layout", "n", "k", "size"),
    [
        ("p2r", 1, 1, 16 * 16 // 4),
        ("p2r", 17, 17, 32 * 32 // 4),
        ("b1r", 1, 1, 32 * 16 // 8),
        ("b1r", 33, 16, 64 * 16 // 8),
        ("q4r", 1, 1, 8 * 16 // 2),
        ("q4r", 9, 17, 16 * 32 // 2),
        ("p2b", 1, 1, 16 * 24 // 4),
        ("p2b", 17, 25, 32 * 48 // 4),
        ("t5x3", 1, 1, 12 * 32 * 5 // 24),
        ("t5x3", 13, 33, 24 * 64 * 5 // 24),
        ("p16", 1, 1, 8 * 10 // 5),
        ("p16", 9, 11, 16 * 20 // 5),
    ],
)
def test_sizes_are_those_of_the_padded_matrix(layout, n, k, size):
    assert LAYOUTS[layout].packed_bytes(n, k) == size
    with pytest.raises(BadOperand, match=f"{size + 1} bytes do not hold a {layout} matrix"):
        unpack(np.zeros(size + 1, np.uint8), LAYOUTS[layout], n=n, k=k)


def test_a_p2r_byte_read_as_signed_is_the_weighted_sum_of_its_fields():
    packed = np.zeros(64, np.uint8)
    for byte in range(256):
        packed[0] = byte
        w = unpack(packed, LAYOUTS["p2r"], n=16, k=16)[[0, 4, 8, 12], 0].astype(int)
        signed = byte - 256 if byte >= 128 else byte
        assert 64 * w[3] + 16 * (w[2] + 1) + 4 * (w[1] + 1) + (w[0] + 1) == signed


def test_the_fourth_code_of_p2r_acts_as_the_arithmetic_says():
    weights = unpack(np.full(64, 0b10111111, np.uint8), LAYOUTS["p2r"], n=16, k=16)
    assert set(weights[:12].flat) == {2}
    assert set(weights[12:].flat) == {-2}


def test_a_q4r_byte_read_as_signed_is_the_weighted_sum_of_its_fields():
    packed = np.zeros(64, np.uint8)
    for byte in range(256):
        packed[0] = byte
        w = unpack(packed, LAYOUTS["q4r"], n=8, k=16)[[0, 4], 0].astype(int)
        assert 16 * w[1] + (w[0] + 8) == (byte - 256 if byte >= 128 else byte)


def test_a_b1r_byte_holds_eight_rows():
    packed = np.zeros(64, np.uint8)
    packed[0] = 0b10000001
    assert unpack(packed, LAYOUTS["b1r"], n=32, k=16)[::4, 0].tolist() == [
        1,
        -1,
        -1,
        -1,
        -1,
        -1,
        -1,
        1,
    ]


@pytest.mark.parametrize(("byte", "last"), [(0, -1), (162, 1), (242, 1), (243, 2), (255, 2)])
def test_a_p16_byte_above_242_acts_as_the_arithmetic_says(byte, last):
    weights = unpack(np.full(16, byte, np.uint8), LAYOUTS["p16"], n=8, k=5).astype(int)
    assert set(weights[:, 4]) == {last}
    assert ((weights + 1) * 3 ** np.arange(5)).sum(axis=1).tolist() == [byte] * 8


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", [(0, 0), (0, 1), (3, 4), (15, 17), (31, 70), (64, 70), (69, 99)])
def test_some_rows_are_those_of_the_whole(layout, rows):
    n, k = 70, 21
    packed = random_bytes(layout, n, k)
    matrix = PackedMatrix(packed, LAYOUTS[layout], n=n, k=k)
    whole = unpack(packed, LAYOUTS[layout], n=n, k=k)
    np.testing.assert_array_equal(matrix[slice(*rows)], whole[slice(*rows)])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_kept_matrix_is_the_whole_as_floats(layout):
    matrix = PackedMatrix(random_bytes(layout, 70, 21), LAYOUTS[layout], n=70, k=21)
    matrix.keep()
    assert matrix.kept.dtype == np.float32
    assert matrix.kept.nbytes == 4 * 70 * 21
    np.testing.assert_array_equal(matrix.kept, matrix[:])
