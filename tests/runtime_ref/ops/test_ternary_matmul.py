"""ternary_matmul: layout p2r is read byte by byte, and the sums are exact."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand
from bitexport_ref.ops.ternary_matmul import ternary_matmul, unpack_p2r

SIZES = [(1, 1), (16, 16), (17, 16), (16, 17), (5, 40), (33, 50)]


def weight_of_byte(packed, n, k, row, column):
    """Read one weight as FORMAT.md, section 3.3, says where it lies."""
    tiles_per_band = 16 * -(-k // 16) // 4
    tile = (row // 16) * tiles_per_band + column // 4
    field, line, i = row % 16 // 4, row % 4, column % 4
    code = packed[16 * tile + 4 * line + i] >> (2 * field) & 3
    if field == 3:
        return code - 4 if code >= 2 else code
    return code - 1


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_every_weight_lies_where_the_format_says(n, k):
    size = 16 * -(-n // 16) * 16 * -(-k // 16) // 4
    packed = np.random.default_rng(n).integers(0, 256, size).astype(np.uint8)
    found = unpack_p2r(packed, n=n, k=k)
    assert found.dtype == np.int8
    expected = [
        [weight_of_byte(packed.tolist(), n, k, row, column) for column in range(k)]
        for row in range(n)
    ]
    assert found.tolist() == expected


def test_a_byte_read_as_signed_is_the_weighted_sum_of_its_fields():
    packed = np.zeros(64, np.uint8)
    for byte in range(256):
        packed[0] = byte
        w = unpack_p2r(packed, n=16, k=16)[[0, 4, 8, 12], 0].astype(int)
        signed = byte - 256 if byte >= 128 else byte
        assert 64 * w[3] + 16 * (w[2] + 1) + 4 * (w[1] + 1) + (w[0] + 1) == signed


def test_the_fourth_code_acts_as_the_arithmetic_says():
    weights = unpack_p2r(np.full(64, 0b10111111, np.uint8), n=16, k=16)
    assert set(weights[:12].flat) == {2}
    assert set(weights[12:].flat) == {-2}


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_sums_are_exact(n, k):
    rng = np.random.default_rng(k)
    q = rng.integers(-128, 128, (2, 3, k)).astype(np.int8)
    w = rng.integers(-1, 2, (n, k)).astype(np.int8)
    found = ternary_matmul(q, w)
    assert found.dtype == np.int32
    assert found.shape == (2, 3, n)
    for row, sums in zip(q.reshape(6, k).tolist(), found.reshape(6, n).tolist(), strict=True):
        weights = w.tolist()
        assert sums == [sum(a * b for a, b in zip(row, each, strict=True)) for each in weights]


def test_bytes_of_another_size_are_refused():
    with pytest.raises(BadOperand, match="65 bytes do not hold a p2r matrix of 16 by 16"):
        unpack_p2r(np.zeros(65, np.uint8), n=16, k=16)


def test_rows_of_another_width_are_refused():
    with pytest.raises(BadOperand, match="rows have 4 columns, the weight has 5"):
        ternary_matmul(np.zeros((1, 4), np.int8), np.zeros((2, 5), np.int8))
