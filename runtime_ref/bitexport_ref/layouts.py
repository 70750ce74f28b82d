"""The layouts of FORMAT.md, section 3.3, in which small integers are packed.

p2r, b1r and q4r are one scheme: a byte holds the same column of several rows, one in each of its
fields.  Of the others each has a function that unpacks its bands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import BadOperand
from bitexport_ref.numerics import F32, S8
from bitexport_ref.stored import Rows

TILE_COLUMNS = 4
LINES = 4
"""Rows that lie in one field of a tile."""

_PADDED_COLUMNS = 16


@dataclasses.dataclass(frozen=True)
class Layout:
    """Tiles of 4 * fields rows by 4 columns, a byte for each line and column.

    Byte 4l + i of the tile of row R and column C holds, in field f, the weight of row R + 4f + l
    and column C + i.  After `flip` is exclusive-ored to the byte, which makes a field in two's
    complement one with a bias, a weight is step * field - offsets[f].
    """

    name: str
    flip: int
    step: int
    offsets: tuple[int, ...]
    largest: int
    """Largest magnitude of a weight, whatever the bytes."""

    @property
    def fields(self) -> int:
        """Fields of a byte."""
        return len(self.offsets)

    @property
    def field_bits(self) -> int:
        """Bits of a field."""
        return 8 // self.fields

    @property
    def largest_field(self) -> int:
        """Largest number that a field holds."""
        return (1 << self.field_bits) - 1

    @property
    def band(self) -> int:
        """Rows of a tile; all tiles of these rows make a band, whose bytes are consecutive."""
        return LINES * self.fields

    def band_bytes(self, k: int) -> int:
        """Bytes of a band of k columns."""
        return -(-k // _PADDED_COLUMNS) * _PADDED_COLUMNS * LINES

    def packed_bytes(self, n: int, k: int) -> int:
        """Bytes of a matrix of n rows and k columns."""
        return -(-n // self.band) * self.band_bytes(k)


P2R = Layout("p2r", flip=0x80, step=1, offsets=(1, 1, 1, 2), largest=2)
"""Ternary.  The code that no sound file holds acts as +2, in field 3 as -2."""
B1R = Layout("b1r", flip=0x00, step=2, offsets=(1,) * 8, largest=1)
"""Binary: +1 or -1."""
Q4R = Layout("q4r", flip=0x80, step=1, offsets=(8, 8), largest=8)
"""Integers from -8 to 7."""


@dataclasses.dataclass(frozen=True)
class BandLayout:
    """Bands of some rows, whose bytes are consecutive, and are unpacked by a function."""

    name: str
    band: int
    """Rows of a tile; all tiles of these rows make a band."""
    tile_columns: int
    tile_bytes: int
    unpack: Callable[[NDArray[np.uint8]], S8]
    """Bytes (bands, tiles of a band, tile_bytes) -> weights (bands, band, padded k)."""
    largest: int
    """Largest magnitude of a weight, whatever the bytes."""

    def band_bytes(self, k: int) -> int:
        """Bytes of a band of k columns."""
        return -(-k // self.tile_columns) * self.tile_bytes

    def packed_bytes(self, n: int, k: int) -> int:
        """Bytes of a matrix of n rows and k columns."""
        return -(-n // self.band) * self.band_bytes(k)


def _trits_of_bytes() -> S8:
    """Return what each byte of p16 holds: (256, 5)."""
    digits = np.arange(256)[:, None] // 3 ** np.arange(5)
    digits[:, :4] %= 3
    return (digits - 1).astype(np.int8)


_P16_TRITS = _trits_of_bytes()


def _unpack_p16(tiles: NDArray[np.uint8]) -> S8:
    """Byte 8h + r of a tile holds columns 5h … 5h + 4 of row r."""
    bands, count, _ = tiles.shape
    trits: S8 = _P16_TRITS[tiles.reshape(bands, count * 2, 8).transpose(0, 2, 1)]
    return trits.reshape(bands, 8, count * 10)


def _trits_of_indices() -> S8:
    """Return the three weights of each index of p2b: (256, 3)."""
    digits = np.arange(256)[:, None] // 3 ** np.arange(3) % 3
    digits[27:] = 1
    return (digits - 1).astype(np.int8)


_P2B_TRITS = _trits_of_indices()


def _unpack_p2b(blocks: NDArray[np.uint8]) -> S8:
    """Three bytes of a row, 16 apart, hold the indices of 12 columns."""
    bands, count, _ = blocks.shape
    tiles = blocks.reshape(bands, count * 2, 3, 16)
    first, second, third = tiles[:, :, 0], tiles[:, :, 1], tiles[:, :, 2]
    fourth = second >> np.uint8(6) << np.uint8(3) | first >> np.uint8(5)
    indices = np.stack([first & np.uint8(31), second & np.uint8(31), third, fourth], axis=-1)
    trits: S8 = _P2B_TRITS[indices.transpose(0, 2, 1, 3)]
    return trits.reshape(bands, 16, count * 24)


def _trits_of_codes() -> S8:
    """Return the three weights of each code of t5x3: (32, 3)."""
    codes = np.arange(32)
    return (np.stack([codes % 3, codes // 3 % 3, codes // 9], axis=-1) - 1).astype(np.int8)


_T5X3_TRITS = _trits_of_codes()


def _unpack_t5x3(tiles: NDArray[np.uint8]) -> S8:
    """Five bytes, 16 apart, hold the codes of three rows and of every fourth column."""
    bands, count, _ = tiles.shape
    five = tiles.reshape(bands, count, 5, 4, 4)  # byte, lane, column
    upper, lower = five >> np.uint8(3), five & np.uint8(7)
    more = lower >> np.uint8(1) << np.uint8(3)
    last = (lower & np.uint8(1)) << np.uint8(3)
    codes = np.empty((bands, count, 8, 4, 4), np.uint8)
    codes[:, :, :5] = upper
    codes[:, :, 5] = lower[:, :, 0] | more[:, :, 1]
    codes[:, :, 6] = lower[:, :, 2] | more[:, :, 3]
    codes[:, :, 7] = lower[:, :, 4] | last[:, :, 1] | last[:, :, 3] << np.uint8(1)
    trits = _T5X3_TRITS[codes]  # band, tile, group, lane, column, row of three
    return trits.transpose(0, 5, 3, 1, 2, 4).reshape(bands, 12, count * 32)


P2B = BandLayout("p2b", band=16, tile_columns=24, tile_bytes=96, unpack=_unpack_p2b, largest=1)
"""Ternary, three columns to an index.  Above 26 it acts as three zeros."""
T5X3 = BandLayout("t5x3", band=12, tile_columns=32, tile_bytes=80, unpack=_unpack_t5x3, largest=2)
"""Ternary, three rows to five bits.  The last trit of a code above 26 acts as +2."""
P16 = BandLayout("p16", band=8, tile_columns=10, tile_bytes=16, unpack=_unpack_p16, largest=2)
"""Ternary, five columns to a byte.  The last trit of a byte above 242 acts as +2."""

LAYOUTS: dict[str, Layout | BandLayout] = {
    layout.name: layout for layout in (P2R, B1R, Q4R, P2B, T5X3, P16)
}


class PackedMatrix:
    """A matrix (n, k) of small integers, unpacked by bands of rows as they are asked for."""

    dtype = np.dtype(np.int8)

    def __init__(
        self, packed: Rows[np.uint8], layout: Layout | BandLayout, *, n: int, k: int
    ) -> None:
        if packed.shape != (layout.packed_bytes(n, k),):
            size = packed.shape[0] if len(packed.shape) == 1 else packed.shape
            message = f"{size} bytes do not hold a {layout.name} matrix of {n} by {k}"
            raise BadOperand(message)
        self.layout = layout
        self.shape = (n, k)
        self.bands = -(-n // layout.band)
        self.kept: F32 | None = None
        self._packed = packed

    def keep(self) -> None:
        """Hold the whole matrix as floats, which products then use."""
        self.kept = self[:].astype(np.float32)

    def lines(self, first: int, last: int) -> NDArray[np.uint8]:
        """Return bands, flipped, with one line of bytes for each l: (4 * bands, padded k)."""
        layout = self.layout
        assert isinstance(layout, Layout)
        size = layout.band_bytes(self.shape[1])
        raw = self._packed[first * size : last * size]
        if layout.flip:
            raw = raw ^ np.uint8(layout.flip)
        columns = size // LINES
        four = raw.view(np.uint32).reshape(last - first, columns // TILE_COLUMNS, LINES)
        by_line = np.ascontiguousarray(four.transpose(0, 2, 1))
        return by_line.view(np.uint8).reshape((last - first) * LINES, columns)

    def rows_of_lines(self, first: int, last: int, field: int) -> NDArray[np.intp]:
        """Return which row of the matrix each line of bands is in a field: (4 * bands)."""
        starts = np.arange(first, last)[:, None] * self.layout.band + field * LINES
        return (starts + np.arange(LINES)).reshape(-1)

    def __getitem__(self, rows: slice, /) -> S8:
        """Unpack consecutive rows: (rows, k)."""
        layout, (n, k) = self.layout, self.shape
        start, stop, step = rows.indices(n)
        assert step == 1
        first, last = start // layout.band, -(-max(start, stop) // layout.band)
        inside = slice(start - first * layout.band, max(start, stop) - first * layout.band)
        if isinstance(layout, BandLayout):
            size = layout.band_bytes(k)
            shape = (last - first, size // layout.tile_bytes, layout.tile_bytes)
            tiles = self._packed[first * size : last * size].reshape(shape)
            return layout.unpack(tiles)[:, :, :k].reshape(-1, k)[inside]
        lines = self.lines(first, last)[:, :k]
        weights = np.empty((last - first, layout.fields, LINES, k), np.int8)
        for field, offset in enumerate(layout.offsets):
            code = (lines >> np.uint8(field * layout.field_bits)) & np.uint8(layout.largest_field)
            weight = code.view(np.int8) * np.int8(layout.step) - np.int8(offset)
            weights[:, field] = weight.reshape(last - first, LINES, k)
        return weights.reshape(-1, k)[inside]


def unpack(packed: NDArray[np.uint8], layout: Layout | BandLayout, *, n: int, k: int) -> S8:
    """Undo a layout: its bytes -> (n, k)."""
    return PackedMatrix(packed, layout, n=n, k=k)[:]
