"""A matrix together with the way its bytes will lie in the file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import NoReturn

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.layouts import Layout, load_layout

PLAIN: Mapping[Kind, ir.DataType] = {
    Kind.FLOAT: ir.DataType.FLOAT,
    Kind.FLOAT16: ir.DataType.FLOAT16,
    Kind.BFLOAT16: ir.DataType.BFLOAT16,
    Kind.INT8: ir.DataType.INT8,
    Kind.INT32: ir.DataType.INT32,
    Kind.TRITS: ir.DataType.INT8,
    Kind.SIGNS: ir.DataType.INT8,
    Kind.INT4: ir.DataType.INT8,
}


@dataclasses.dataclass(frozen=True)
class StoredMatrix:
    """The content of an initializer; its bytes are made block by block when the file is written."""

    matrix: Matrix
    logical_shape: tuple[int, ...]
    layout: str = "plain"

    def __post_init__(self) -> None:
        assert math.prod(self.logical_shape) == self.matrix.rows * self.matrix.columns

    @property
    def packing(self) -> Layout | None:
        """The layout module, or None for plain rows."""
        return None if self.layout == "plain" else load_layout(self.layout)

    @property
    def layout_id(self) -> int:
        """The layout's number in FORMAT.md."""
        return self.packing.LAYOUT_ID if self.packing else 0

    @property
    def dtype(self) -> ir.DataType:
        """The dtype of the stored elements."""
        return ir.DataType.UINT8 if self.packing else PLAIN[self.matrix.kind]

    @property
    def shape(self) -> tuple[int, ...]:
        """The ONNX shape: packed weights are a row of bytes."""
        if self.packing:
            return (self.packing.packed_bytes(self.matrix.rows, self.matrix.columns),)
        return self.logical_shape

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return math.prod(self.shape) * int(self.dtype.itemsize)

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the tensor in order, a block of rows at a time."""
        for _, packed in self.blocks():
            yield packed

    def blocks(self) -> Iterator[tuple[NDArray[np.generic], bytes]]:
        """Yield blocks of rows, (rows, columns), as they are and as they lie in the file."""
        if self.packing:
            for _, rows in self.matrix.blocks(self.packing.ROW_TILE):
                weights = rows.astype(np.int8, copy=False)
                yield weights, self.packing.pack(weights).tobytes()
        else:
            for _, rows in self.matrix.blocks():
                yield rows, np.ascontiguousarray(rows).tobytes()


def widened(matrix: Matrix) -> Matrix:
    """Return a float matrix as float32, which holds all of its numbers."""
    return Matrix(matrix.name, Kind.FLOAT, matrix.rows, matrix.columns, matrix.floats)


def attach(value: ir.Value, stored: StoredMatrix) -> None:
    """Make `stored` the content of an initializer, and the value's type that of its bytes."""

    def refuse() -> NoReturn:
        raise NotImplementedError(f"`{value.name}` is written block by block, never held whole")

    shape = ir.Shape(stored.shape)
    value.const_value = ir.LazyTensor(refuse, stored.dtype, shape, name=value.name)
    value.type, value.shape = ir.TensorType(stored.dtype), shape
    value.meta["stored"] = stored


def stored_in(value: ir.Value) -> StoredMatrix:
    """Return the content of an initializer."""
    stored = value.meta["stored"]
    assert isinstance(stored, StoredMatrix), value.name
    return stored


def stored_matrices(model: ir.Model) -> dict[str, StoredMatrix]:
    """Return the content of every initializer by name."""
    return {name: stored_in(value) for name, value in model.graph.initializers.items()}
