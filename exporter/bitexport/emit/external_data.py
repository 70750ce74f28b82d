"""The data file beside a graph: tensors one after the other, filled in place, never held whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

INLINE_BYTES = 1024
"""Up to here a tensor stays in the graph, where shape inference and readers see it."""
ALIGNMENT, LARGE_BYTES, LARGE_ALIGNMENT = 64, 1 << 20, 1 << 16
"""Large tensors begin where every system can map them: 64 KiB, the granularity of Windows."""

NUMPY_TYPES: Mapping[int, np.dtype[Any]] = {
    onnx.TensorProto.FLOAT: np.dtype(np.float32),
    onnx.TensorProto.FLOAT16: np.dtype(np.float16),
    onnx.TensorProto.BFLOAT16: np.dtype(np.uint16),  # NumPy has none: the bits stand for it
    onnx.TensorProto.INT8: np.dtype(np.int8),
    onnx.TensorProto.UINT8: np.dtype(np.uint8),
    onnx.TensorProto.INT32: np.dtype(np.int32),
    onnx.TensorProto.INT64: np.dtype(np.int64),
    onnx.TensorProto.BOOL: np.dtype(np.bool_),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilledTensor:
    """A tensor, and what writes its elements."""

    name: str
    dtype: int
    """Of TensorProto."""
    shape: tuple[int, ...]
    fill: Callable[[NDArray[Any]], None]
    """Given an array of this shape full of zeros, or a mapped file that is one."""

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return int(np.prod(self.shape, dtype=np.int64)) * NUMPY_TYPES[self.dtype].itemsize


def of_array(name: str, array: NDArray[Any]) -> FilledTensor:
    """Return an array that is there already."""

    def fill(out: NDArray[Any]) -> None:
        out[...] = array

    dtype = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return FilledTensor(name=name, dtype=dtype, shape=array.shape, fill=fill)


def write_tensors(tensors: Iterable[FilledTensor], data: Path) -> list[onnx.TensorProto]:
    """Write the large ones to a new file; return all as initializers."""
    made, placed, end = [], [], 0
    for tensor in tensors:
        if tensor.nbytes > INLINE_BYTES:
            step = LARGE_ALIGNMENT if tensor.nbytes >= LARGE_BYTES else ALIGNMENT
            offset = -(-end // step) * step
            end = offset + tensor.nbytes
            placed.append((tensor, offset))
            made.append(_external(tensor, data.name, offset))
        else:
            made.append(_inline(tensor))
    with data.open("wb") as file:
        file.truncate(end)
    for tensor, offset in placed:
        kind = NUMPY_TYPES[tensor.dtype]
        mapped = np.memmap(data, kind, "r+", offset, tensor.shape)
        tensor.fill(mapped)
        mapped.flush()
    return made


def _inline(tensor: FilledTensor) -> onnx.TensorProto:
    out = np.zeros(tensor.shape, NUMPY_TYPES[tensor.dtype])
    tensor.fill(out)
    return onnx.TensorProto(
        name=tensor.name, data_type=tensor.dtype, dims=tensor.shape, raw_data=out.tobytes()
    )


def _external(tensor: FilledTensor, location: str, offset: int) -> onnx.TensorProto:
    made = onnx.TensorProto(name=tensor.name, data_type=tensor.dtype, dims=tensor.shape)
    made.data_location = onnx.TensorProto.EXTERNAL
    place = {"location": location, "offset": str(offset), "length": str(tensor.nbytes)}
    for key, value in place.items():
        made.external_data.add(key=key, value=value)
    return made
