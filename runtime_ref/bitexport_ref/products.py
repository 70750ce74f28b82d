"""Products with large weights, block by block: exact integers, and floats in eight lanes.

A block is read, widened to float32, multiplied and dropped, so that memory does not grow with the
model.  Integer sums come from a float32 BLAS: where no partial sum passes 2^24, every order of
additions, fused or not, gives the same integers.  Blocks are spread over threads; which thread
computes a block changes no bit.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import BadOperand
from bitexport_ref.layouts import BandLayout, PackedMatrix
from bitexport_ref.numerics import F32, LANES, LONGEST_INTEGER_SUM, S8, S32, lane_tree
from bitexport_ref.stored import Rows

Element = TypeVar("Element", bound=np.generic)
Block = TypeVar("Block")
Integers = Rows[np.int8] | PackedMatrix
"""A weight of small integers, (n, k)."""

_EXACT_F32 = 1 << 24
_LARGEST_ACTIVATION = 128
_LARGEST_INT8 = 128
_PACKED_AT_ONCE = 1 << 18
_WIDENED_AT_ONCE = 1 << 18

# A BLAS call beyond these sizes would start threads of its own, which wait for each other; with
# several of our threads calling, for ever longer (OpenBLAS, interface/gemm.c and gemv.c).
_MATRIX_PRODUCTS_AT_ONCE = 1 << 18
_VECTOR_PRODUCTS_AT_ONCE = 9 << 10
_ROWS_AT_ONCE = 64
_LINES_AT_ONCE = 64

_LANE_WIDENED_AT_ONCE = 1 << 21
_LANE_COLUMNS_AT_ONCE = 512
_LANE_PRODUCTS_AT_ONCE = 64
_TRANSPOSED_AT_ONCE = 16


class Tile(NamedTuple):
    """Some rows of a weight as floats: the weight is `codes * unit - offset`.

    Codes are multiples of 1 / unit, so that sums of their products are exact as those of integers.
    """

    rows: NDArray[np.intp]
    codes: F32
    unit: float
    offset: int
    largest: int
    """Largest magnitude of a code, in units."""


def integer_matmul(q: S8, weight: Integers) -> S32:
    """Return q @ weight.T exactly: (rows, k), (n, k) -> (rows, n)."""
    n, k = _agreed(q, weight)
    y = np.empty((q.shape[0], n), np.int32)

    def multiply(tiles: Callable[[], Iterator[Tile]]) -> None:
        for tile in tiles():
            for some in _slices(q.shape[0], _ROWS_AT_ONCE):
                y[some, tile.rows] = _group_sums(q[some], tile, k)[0]

    _spread(multiply, _tile_blocks(weight))
    return y


def group_matmul(
    q: Sequence[S8], weight: Integers, weight_scale: F32, scale: F32, *, group: int
) -> F32:
    """Sum the scaled products of groups, group after group (NUMERICS.md, GroupMatMul).

    q is codes (rows, k), or high and low codes; weight (n, k); weight_scale (groups or 1, n or 1);
    scale (rows, groups or 1) -> (rows, n).
    """
    n, _ = _agreed(q[0], weight)
    reciprocal = np.float32(1) / scale
    y = np.empty((q[0].shape[0], n), np.float32)

    def multiply(tiles: Callable[[], Iterator[Tile]]) -> None:
        for tile in tiles():
            factor = weight_scale[:, tile.rows] if weight_scale.shape[1] > 1 else weight_scale
            for some in _slices(y.shape[0], _ROWS_AT_ONCE):
                sums = _group_sums(q[0][some], tile, group)
                for low in q[1:]:
                    sums = 256 * sums + _group_sums(low[some], tile, group)
                terms = sums.astype(np.float32)
                terms *= factor[:, None]
                terms *= reciprocal[some].T[:, :, None]
                total = np.zeros(terms.shape[1:], np.float32)
                for term in terms:
                    total += term
                y[some, tile.rows] = total

    _spread(multiply, _tile_blocks(weight))
    return y


def lane_matmul(x: F32, weight: Rows[Element], widen: Callable[[NDArray[Element]], F32]) -> F32:
    """Return lane_sum(x * weight): (rows, k), (n, k) -> (rows, n)."""
    n, k = _agreed(x, weight)
    block = max(1, min(_LANE_COLUMNS_AT_ONCE, _LANE_WIDENED_AT_ONCE // k))
    y = np.empty((x.shape[0], n), np.float32)

    def multiply(start: int) -> None:
        rows = weight[start : start + block]
        transposed = np.empty((k, len(rows)), np.float32)
        for some in _slices(len(rows), _TRANSPOSED_AT_ONCE):
            transposed[:, some] = widen(rows[some]).T
        product = np.empty((_LANE_PRODUCTS_AT_ONCE, transposed.shape[1]), np.float32)
        for row, factors in enumerate(x):
            lanes = np.zeros((LANES, transposed.shape[1]), np.float32)
            for first in range(0, k, _LANE_PRODUCTS_AT_ONCE):
                some = slice(first, first + _LANE_PRODUCTS_AT_ONCE)
                count = len(factors[some])
                np.multiply(transposed[some], factors[some, None], out=product[:count])
                for at in range(0, count, LANES):
                    eight = product[at : min(count, at + LANES)]
                    lanes[: len(eight)] += eight
            y[row, start : start + block] = lane_tree(lanes)

    _spread(multiply, range(0, n, block))
    return y


def _group_sums(q: S8, tile: Tile, group: int) -> S32:
    """Return the exact sums of each group of columns: (rows, k), (m, k) -> (groups, rows, m).

    A sum is made of parts, each of one BLAS call; float64 adds them exactly.
    """
    (rows, k), m = q.shape, tile.codes.shape[0]
    groups = -(-k // group)
    y = np.empty((groups, rows, m), np.int32)
    at_once = _MATRIX_PRODUCTS_AT_ONCE if rows > 1 else _VECTOR_PRODUCTS_AT_ONCE
    most = min(
        at_once // (rows * min(m, _LINES_AT_ONCE)),
        _EXACT_F32 // (_LARGEST_ACTIVATION * tile.largest),
    )
    width = _part_width(min(group, k), most, must_divide=groups > 1)
    parts = -(-min(group, k) // width)
    x = _in_parts(q, groups, parts, width)
    factors = x.astype(np.float32)
    totals = x.sum(axis=(1, 3), dtype=np.int32)[..., None]
    for some in _slices(m, _LINES_AT_ONCE):
        codes = _in_parts(tile.codes[some], groups, parts, width)
        part = np.matmul(factors, codes.swapaxes(-1, -2)).sum(axis=1, dtype=np.float64)
        y[:, :, some] = part * tile.unit - tile.offset * totals
    return y


def _part_width(columns: int, most: int, *, must_divide: bool) -> int:
    """Return into parts of how many columns, at most `most`, a group falls.

    Parts that do not divide the columns are filled up with zeros, which takes a copy.
    """
    if columns <= most:
        return columns
    least = 1 if must_divide else most // 4
    return next((width for width in range(most, least, -1) if columns % width == 0), most)


def _in_parts(matrix: NDArray[Element], groups: int, parts: int, width: int) -> NDArray[Element]:
    """Split columns, filled up with zeros: (m, k) -> (groups, parts, m, width)."""
    m, k = matrix.shape
    columns = groups * parts * width
    if columns != k:
        filled = np.zeros((m, columns), matrix.dtype)
        filled[:, :k] = matrix
        matrix = filled
    return matrix.reshape(m, groups, parts, width).transpose(1, 2, 0, 3)


def _slices(size: int, step: int) -> Iterator[slice]:
    """Cut a range into slices."""
    return (slice(start, min(size, start + step)) for start in range(0, size, step))


def _agreed(x: NDArray[np.generic], weight: Integers | Rows[Element]) -> tuple[int, int]:
    """Return n and k of a product whose operands fit."""
    n, k = weight.shape
    if x.shape[-1] != k:
        message = f"rows have {x.shape[-1]} columns, the weight has {k}"
        raise BadOperand(message)
    if x.dtype == np.int8 and k > LONGEST_INTEGER_SUM:
        message = f"k is {k}, more than {LONGEST_INTEGER_SUM}: the sum may leave s32"
        raise BadOperand(message)
    return n, k


def _tile_blocks(weight: Integers) -> list[Callable[[], Iterator[Tile]]]:
    """Divide a weight into blocks; each gives its tiles one by one."""
    n, k = weight.shape
    if (
        isinstance(weight, PackedMatrix)
        and weight.kept is None
        and not isinstance(weight.layout, BandLayout)
    ):
        step = max(1, _PACKED_AT_ONCE // weight.layout.band_bytes(k))
        return [
            functools.partial(_packed_tiles, weight, first, min(weight.bands, first + step))
            for first in range(0, weight.bands, step)
        ]
    step = max(1, _WIDENED_AT_ONCE // k)
    return [
        functools.partial(_plain_tiles, weight, first, min(n, first + step))
        for first in range(0, n, step)
    ]


def _packed_tiles(weight: PackedMatrix, first: int, last: int) -> Iterator[Tile]:
    """Widen bands, one field after the other: a field is masked out, but not shifted down."""
    layout, (n, k) = weight.layout, weight.shape
    assert not isinstance(layout, BandLayout)
    lines = weight.lines(first, last)[:, :k]
    codes = np.empty(lines.shape, np.float32)
    for field, offset in enumerate(layout.offsets):
        shift = field * layout.field_bits
        np.copyto(codes, lines & np.uint8(layout.largest_field << shift))
        rows = weight.rows_of_lines(first, last, field)
        inside = rows < n
        if not inside.any():
            return
        yield Tile(
            rows[inside],
            codes if inside.all() else codes[inside],
            layout.step / (1 << shift),
            offset,
            layout.largest_field,
        )


def _plain_tiles(weight: Integers, first: int, last: int) -> Iterator[Tile]:
    """Widen rows that are not packed, or are unpacked whole."""
    rows = np.arange(first, last)
    largest = weight.layout.largest if isinstance(weight, PackedMatrix) else _LARGEST_INT8
    if isinstance(weight, PackedMatrix) and weight.kept is not None:
        yield Tile(rows, weight.kept[first:last], 1.0, 0, largest)
    else:
        yield Tile(rows, weight[first:last].astype(np.float32), 1.0, 0, largest)


def _spread(work: Callable[[Block], None], blocks: Sequence[Block]) -> None:
    """Do the work of all blocks, on all cores when there are several blocks."""
    threads = min(len(blocks), len(os.sched_getaffinity(0)))

    def quiet(block: Block) -> None:
        with np.errstate(all="ignore"):
            work(block)

    if threads <= 1:
        for block in blocks:
            quiet(block)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(quiet, blocks):
            pass
