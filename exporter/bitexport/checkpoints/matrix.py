"""A matrix that can be read by rows: what a checkpoint gives to the rest of the compiler."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 4 << 20


class Kind(enum.Enum):
    """What the elements of a matrix are, independent of how a file stores them."""

    TRITS = "trits"  # int8 in {-1, 0, 1}
    SIGNS = "signs"  # int8 in {-1, 1}
    INT4 = "int4"  # int8 in -8 … 7
    INT8 = "int8"
    INT32 = "int32"
    FLOAT = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"  # as uint16 bit patterns


class FloatNames(NamedTuple):
    """How a kind of floats is called."""

    dtype: str
    """In safetensors and GGUF."""
    form: str
    """In options and reports."""
    suffix: str
    """At the end of the ops that read it."""


FLOAT_NAMES: Mapping[Kind, FloatNames] = {
    Kind.FLOAT: FloatNames("F32", "f32", "F32"),
    Kind.FLOAT16: FloatNames("F16", "f16", "F16"),
    Kind.BFLOAT16: FloatNames("BF16", "bf16", "Bf16"),
}
FLOAT_KINDS: Mapping[str, Kind] = {names.dtype: kind for kind, names in FLOAT_NAMES.items()}


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A matrix [rows, columns], or a vector as one with a single column."""

    name: str
    kind: Kind
    rows: int
    columns: int
    read_rows: Callable[[int, int], NDArray[np.generic]]
    """read_rows(start, stop) returns rows start … stop - 1, shape (stop - start, columns)."""

    def blocks(self, multiple: int = 1) -> Iterator[tuple[int, NDArray[np.generic]]]:
        """Yield (first row, rows) in blocks of a bounded size, a multiple of some row count."""
        step = max(1, BLOCK_BYTES // (4 * self.columns * multiple)) * multiple
        for start in range(0, self.rows, step):
            yield start, self.read_rows(start, min(start + step, self.rows))

    def floats(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return rows as float32, shape (stop - start, columns)."""
        return self.widened(self.read_rows(start, stop))

    def widened(self, rows: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return rows that were read as float32."""
        if self.kind is Kind.BFLOAT16:
            return (rows.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return rows.astype(np.float32, copy=False)
