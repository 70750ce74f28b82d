"""The layouts of FORMAT.md, section 3.3, in which small integers are packed.

All three are one scheme: a byte holds the same column of several rows, one in each of its fields.
"""

from __future__ import annotations

import dataclasses

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

LAYOUTS = {layout.name: layout for layout in (P2R, B1R, Q4R)}


class PackedMatrix:
    """A matrix (n, k) of small integers, unpacked by bands of rows as they are asked for."""

    dtype = np.dtype(np.int8)

    def __init__(self, packed: Rows[np.uint8], layout: Layout, *, n: int, k: int) -> None:
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
        size = self.layout.band_bytes(self.shape[1])
        raw = self._packed[first * size : last * size]
        if self.layout.flip:
            raw = raw ^ np.uint8(self.layout.flip)
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
        lines = self.lines(first, last)[:, :k]
        weights = np.empty((last - first, layout.fields, LINES, k), np.int8)
        for field, offset in enumerate(layout.offsets):
            code = (lines >> np.uint8(field * layout.field_bits)) & np.uint8(layout.largest_field)
            weight = code.view(np.int8) * np.int8(layout.step) - np.int8(offset)
            weights[:, field] = weight.reshape(last - first, LINES, k)
        skipped = first * layout.band
        return weights.reshape(-1, k)[start - skipped : max(start, stop) - skipped]


def unpack(packed: NDArray[np.uint8], layout: Layout, *, n: int, k: int) -> S8:
    """Undo a layout: its bytes -> (n, k)."""
    return PackedMatrix(packed, layout, n=n, k=k)[:]
