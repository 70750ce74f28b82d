"""A tensor where it lies in its file, read with pread so that peak memory stays that of a block."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitexport.errors import CheckpointError

DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"), "I64": np.dtype("<i8"), "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"), "I8": np.dtype("i1"), "U8": np.dtype("u1"), "BOOL": np.dtype("?"),
}  # fmt: skip
FLOATS = ("BF16", "F32", "F16")

BLOCKS: Mapping[str, tuple[int, int]] = {
    "Q4_0": (32, 18), "Q8_0": (32, 34), "Q4_K": (256, 144), "Q6_K": (256, 210),
    "TQ1_0": (256, 54), "TQ2_0": (256, 66), "I2_S": (128, 32), "Q1_0": (128, 18),
    "Q2_0": (64, 18), "Q2_0_G128": (128, 34), "PQ2_0": (128, 34),
}  # fmt: skip
"""Of the block types of GGUF that are decoded: weights in a block, bytes of a block."""

TAILS: Mapping[str, int] = {"I2_S": 32}
"""Bytes behind the last block of a tensor."""


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies in its file, and how its rows are laid out there."""

    file: Path
    name: str
    dtype: str
    """A name in DTYPES or BLOCKS."""
    shape: tuple[int, ...]
    offset: int
    stored_as: str = ""
    """The name that the file gives it, where that is another one."""
    heads: int = 0
    """Not 0: the two halves of each head's rows lie interleaved, as llama.cpp permutes them."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of the first axis."""
        columns = math.prod(self.shape[1:])
        if self.dtype in BLOCKS:
            weights, size = BLOCKS[self.dtype]
            return columns // weights * size
        return columns * DTYPES[self.dtype].itemsize

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        rows = self.shape[0] if self.shape else 1
        return rows * self.row_bytes + TAILS.get(self.dtype, 0)

    @property
    def title(self) -> str:
        """The tensor as messages name it: by its own name, and by that in the file."""
        return f"`{self.name}`" + (f" (`{self.stored_as}`)" if self.stored_as else "")

    def read_rows(self, start: int, stop: int) -> NDArray[np.generic]:
        """Return rows start … stop - 1 of the first axis; bfloat16 as uint16 patterns."""
        rows = self.read_bytes(start, stop).view(DTYPES[self.dtype])
        return rows.reshape(stop - start, *self.shape[1:])

    def read_bytes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the bytes of rows start … stop - 1 in the order of the rows."""
        if not self.heads or start == stop:
            return self._stored_bytes(start, stop)
        size = self.shape[0] // self.heads
        rows = np.arange(start, stop)
        half, place = np.divmod(rows % size, size // 2)
        places = rows - rows % size + 2 * place + half
        first = int(places.min())
        taken: NDArray[np.uint8] = self._stored_bytes(first, int(places.max()) + 1)[places - first]
        return taken

    def read_tail(self) -> bytes:
        """Return the bytes behind the last block."""
        size = TAILS.get(self.dtype, 0)
        return self._pread(self.offset + self.nbytes - size, size)

    def read(self) -> NDArray[np.generic]:
        """Return the whole tensor."""
        if not self.shape:
            flat = dataclasses.replace(self, shape=(1,))
            return flat.read_rows(0, 1).reshape(())
        return self.read_rows(0, self.shape[0])

    def _stored_bytes(self, start: int, stop: int) -> NDArray[np.uint8]:
        size = self.row_bytes
        data = self._pread(self.offset + start * size, (stop - start) * size)
        return np.frombuffer(data, np.uint8).reshape(stop - start, size)

    def _pread(self, offset: int, size: int) -> bytes:
        with self.file.open("rb") as file:
            parts = []
            while size > 0 and (part := os.pread(file.fileno(), size, offset)):
                parts.append(part)
                offset, size = offset + len(part), size - len(part)
        if size:
            raise CheckpointError(
                f"{self.file}: ends inside tensor {self.title}",
                hint="the file changed while it was read; copy or download it again",
            )
        return parts[0] if len(parts) == 1 else b"".join(parts)
