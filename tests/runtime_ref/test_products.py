"""products: integers are exact, floats have eight lanes, and no block or thread changes a bit."""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import pytest

from bitexport_ref import products
from bitexport_ref.errors import BadOperand
from bitexport_ref.layouts import LAYOUTS, PackedMatrix
from bitexport_ref.numerics import LONGEST_INTEGER_SUM
from bitexport_ref.stored import FileBytes, StoredArray

SMALL_BLOCKS = {
    "_PACKED_AT_ONCE": 1,
    "_WIDENED_AT_ONCE": 1,
    "_ROWS_AT_ONCE": 2,
    "_LINES_AT_ONCE": 3,
    "_MATRIX_PRODUCTS_AT_ONCE": 100,
    "_VECTOR_PRODUCTS_AT_ONCE": 50,
}


@pytest.fixture(params=["large blocks", "small blocks"])
def blocks(request, monkeypatch):
    """Run a test with the blocks of the product, and with many tiny ones."""
    if request.param == "small blocks":
        for name, size in SMALL_BLOCKS.items():
            monkeypatch.setattr(products, name, size)


def packed(layout, n, k, fill=None):
    rng = np.random.default_rng(n + k)
    raw = rng.integers(0, 256, LAYOUTS[layout].packed_bytes(n, k)).astype(np.uint8)
    return PackedMatrix(raw if fill is None else np.full_like(raw, fill), LAYOUTS[layout], n=n, k=k)


def codes(rows, k):
    return np.random.default_rng(rows).integers(-128, 128, (rows, k)).astype(np.int8)


def exact(q, w):
    return q.astype(np.int64) @ w.T.astype(np.int64)


@pytest.mark.parametrize(
    ("rows", "n", "k"), [(1, 1, 1), (3, 5, 7), (1, 33, 50), (5, 70, 1025), (70, 40, 97)]
)
@pytest.mark.usefixtures("blocks")
def test_products_of_int8_are_exact(rows, n, k):
    w = codes(n, k)
    found = products.integer_matmul(codes(rows, k), w)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, exact(codes(rows, k), w))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    ("rows", "n", "k"), [(1, 1, 1), (3, 17, 7), (1, 33, 50), (5, 70, 1025), (70, 40, 97)]
)
@pytest.mark.usefixtures("blocks")
def test_products_of_packed_weights_are_exact(layout, keep, rows, n, k):
    weight = packed(layout, n, k)
    if keep:
        weight.keep()
    found = products.integer_matmul(codes(rows, k), weight)
    np.testing.assert_array_equal(found, exact(codes(rows, k), weight[:]))


@pytest.mark.parametrize("code", [-128, 127])
@pytest.mark.parametrize("weight", [-128, 127])
def test_the_largest_sums_of_int8_are_exact(code, weight):
    k = LONGEST_INTEGER_SUM
    q, w = np.full((1, k), code, np.int8), np.full((2, k), weight, np.int8)
    w[1, 0] = -1
    found = products.integer_matmul(q, w)
    assert found.tolist() == [[code * weight * k, code * (weight * (k - 1) - 1)]]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("code", [-128, 127])
@pytest.mark.parametrize("byte", [0x00, 0x7F, 0x80, 0xFF])
@pytest.mark.parametrize("rows", [1, 3])
def test_the_largest_sums_of_packed_weights_are_exact(layout, code, byte, rows):
    k = LONGEST_INTEGER_SUM
    weight = packed(layout, 9, k, fill=byte)
    q = np.full((rows, k), code, np.int8)
    q[:, 0] = 1
    np.testing.assert_array_equal(products.integer_matmul(q, weight), exact(q, weight[:]))


def test_a_sum_that_may_leave_s32_is_refused():
    q = np.zeros((1, LONGEST_INTEGER_SUM + 1), np.int8)
    with pytest.raises(BadOperand, match="k is 131057"):
        products.integer_matmul(q, q)


def test_rows_of_another_width_are_refused():
    with pytest.raises(BadOperand, match="rows have 4 columns, the weight has 5"):
        products.integer_matmul(np.zeros((1, 4), np.int8), np.zeros((2, 5), np.int8))


@pytest.mark.parametrize("group", [16, 48, 4016, 4096])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.usefixtures("blocks")
def test_sums_of_groups_are_exact(group, layout, rows):
    """With powers of two as scales, so that nothing is rounded."""
    n, k = 37, 4100
    weight = packed(layout, n, k)
    high, low = codes(rows, k), codes(rows + 10, k)[:rows]
    one = np.ones((1, 1), np.float32)
    scale = np.full((rows, 1), 0.5, np.float32)
    found = products.group_matmul([high], weight, one, scale, group=group)
    np.testing.assert_array_equal(found, 2 * exact(high, weight[:]))
    few = high // 64
    found = products.group_matmul([few, low], weight, one, scale, group=group)
    np.testing.assert_array_equal(found, 2 * (256 * exact(few, weight[:]) + exact(low, weight[:])))


@pytest.mark.parametrize(("n", "k"), [(1, 1), (5, 8), (7, 21), (30, 140)])
def test_blocks_of_a_float_product_change_no_bit(n, k, plain, same_bits, monkeypatch):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((3, k)).astype(np.float32)
    w = rng.standard_normal((n, k)).astype(np.float32)
    expected = [
        [
            plain.lane_sum([plain.f32(a * b) for a, b in zip(row, each, strict=True)])
            for each in w.tolist()
        ]
        for row in x.tolist()
    ]
    same_bits(products.lane_matmul(x, w, lambda rows: rows), expected)
    monkeypatch.setattr(products, "_LANE_COLUMNS_AT_ONCE", 4)
    monkeypatch.setattr(products, "_TRANSPOSED_AT_ONCE", 3)
    monkeypatch.setattr(products, "_LANE_PRODUCTS_AT_ONCE", 16)
    same_bits(products.lane_matmul(x, w, lambda rows: rows), expected)


def test_an_error_of_a_thread_is_raised(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})

    def fail(block):
        if block == 3:
            raise BadOperand("block 3")

    with pytest.raises(BadOperand, match="block 3"):
        products._spread(fail, range(5))


@pytest.mark.parametrize("rows", [1, 40])
def test_memory_does_not_grow_with_the_weight(rows, tmp_path):
    """16 MiB of trits are 268 MB as floats; a float matrix of 64 MiB is read by blocks too."""
    n, k, megabyte = 4096, 16384, 1 << 20
    path = tmp_path / "weights"
    with path.open("wb") as file:
        file.truncate(64 * megabyte)
    file = FileBytes(path)
    raw = StoredArray(file, np.dtype(np.uint8), (16 * megabyte,), 0)
    weight = PackedMatrix(raw, LAYOUTS["p2r"], n=n, k=k)
    q, one = codes(rows, k), np.ones((1, 1), np.float32)
    works = {
        "integers": lambda: products.integer_matmul(q, weight),
        "groups": lambda: products.group_matmul(
            [q], weight, one, np.ones((rows, 1), np.float32), group=128
        ),
        "floats": lambda: products.lane_matmul(
            np.ones((1, k), np.float32),
            StoredArray(file, np.dtype(np.float32), (1024, k), 0),
            lambda rows: rows,
        ),
    }
    threads = len(os.sched_getaffinity(0))
    for name, work in works.items():
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * rows * n + 24 * megabyte * threads, (name, peak)
