"""A user's own network as an ONNX file, with the files that its tensors may lie in.

External data is read only where ONNX puts it: a plain file in the folder of the model or below, of
which nothing else is a name (no symbolic link, no second hard link), as long as the model says.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.inliner import inline_local_functions

from bitexport.errors import CheckpointError

Array = NDArray[Any]

IR_VERSION_FIELD = b"\x08"
"""How a serialized model begins: with field 1, a number."""
LEAST_OPSET = 7
STANDARD = ("", "ai.onnx")
NARROW_BITS = {
    number: bits
    for name, bits in (("INT2", 2), ("UINT2", 2), ("INT4", 4), ("UINT4", 4))
    if (number := getattr(TensorProto, name, None)) is not None
}
"""Bits of the elements that share bytes."""


@dataclasses.dataclass(frozen=True)
class OnnxFile:
    """A model that was read and checked; tensors by name."""

    path: Path
    graph: onnx.GraphProto
    opset: int
    """Of the standard operators."""
    tensors: Mapping[str, Array]
    files: tuple[Path, ...]

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of every file that was read, by name: where a bundle came from."""
        found = {}
        for file in self.files:
            with file.open("rb") as stream:
                found[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
        return found


def is_onnx(path: Path) -> bool:
    """Return whether a path is a file that begins, or is called, like an ONNX model."""
    if not path.is_file():
        return False
    if path.suffix == ".onnx":
        return True
    try:
        with path.open("rb") as file:
            if file.read(1) != IR_VERSION_FIELD:
                return False
        return bool(_parse(path).graph.node)
    except (OSError, CheckpointError):
        return False


def read_onnx(path: Path) -> OnnxFile:
    """Read a model and every tensor, or say which one cannot be, and why."""
    model = _parse(path)
    opset = _refuse_versions(path, model)
    if model.functions:
        model = inline_local_functions(model)
    graph = model.graph
    if not graph.node:
        raise CheckpointError(f"{path}: holds no graph", hint="give an ONNX model")
    files: dict[str, Path] = {}
    tensors = {each.name: _array(path, each, files) for each in graph.initializer}
    for node in graph.node:
        for entry in node.attribute:
            if entry.t.data_location == TensorProto.EXTERNAL:
                value = _inside(path, entry.t, f"{path}: value of `{node.output[0]}`", files)
                entry.t.CopyFrom(value)
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise CheckpointError(
            f"{path}: tensor `{name}` is sparse", hint="export the model with dense tensors"
        )
    return OnnxFile(path, graph, opset, tensors, (path, *files.values()))


def _parse(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path, load_external_data=False)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except (DecodeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a readable ONNX file",
            hint="is it complete? an ONNX file is one serialized ModelProto",
        ) from error


def _refuse_versions(path: Path, model: onnx.ModelProto) -> int:
    """Refuse what is newer than the installed onnx package knows; return the opset."""
    if model.ir_version > onnx.IR_VERSION:
        raise CheckpointError(
            f"{path}: IR version {model.ir_version}, the installed onnx {onnx.__version__} knows "
            f"{onnx.IR_VERSION} and below",
            hint="pip install -U onnx, or export the model for an older version",
        )
    newest = onnx.defs.onnx_opset_version()
    opset = max(
        (entry.version for entry in model.opset_import if entry.domain in STANDARD), default=newest
    )
    if not LEAST_OPSET <= opset <= newest:
        raise CheckpointError(
            f"{path}: opset {opset}, the installed onnx {onnx.__version__} and bitexport read "
            f"{LEAST_OPSET} to {newest}",
            hint="export the model for an opset among these",
        )
    return opset


def _array(path: Path, tensor: TensorProto, files: dict[str, Path]) -> Array:
    """Return a tensor; of external ones the file is added to `files`, by location."""
    where = f"{path}: tensor `{tensor.name}`"
    try:
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor = _inside(path, tensor, where, files)
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{where}: its bytes are not what shape {list(tensor.dims)} asks for",
            hint="the file is damaged; export the model again",
        ) from error


def _inside(path: Path, tensor: TensorProto, where: str, files: dict[str, Path]) -> TensorProto:
    """Return an external tensor with its bytes in it."""
    inside = TensorProto()
    inside.CopyFrom(tensor)
    inside.ClearField("external_data")
    inside.data_location = TensorProto.DEFAULT
    inside.raw_data = _external(path, tensor, where, files)
    return inside


def _external(path: Path, tensor: TensorProto, where: str, files: dict[str, Path]) -> bytes:
    """Return the bytes of a tensor that lies in a file of its own, as many as its shape asks."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    location = said.get("location", "")
    numbers = [said.get(key) or "0" for key in ("offset", "length")]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise CheckpointError(
            f"{where}: external data with offset {numbers[0]!r} and length {numbers[1]!r}",
            hint="both are numbers of bytes; export the model again",
        )
    offset, length = map(int, numbers)
    wanted = _tensor_bytes(tensor)
    if length not in (0, wanted):
        raise CheckpointError(
            f"{where}: {length} bytes of external data, shape {list(tensor.dims)} asks for "
            f"{wanted}",
            hint="the model is damaged; export it again",
        )
    if location not in files:
        files[location] = _data_file(path, location, where)
    with files[location].open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if offset + wanted > size:
            raise CheckpointError(
                f"{where}: bytes {offset} to {offset + wanted} of `{location}`, which has {size}",
                hint="the data file is cut short, or belongs to another model; copy it again",
            )
        stream.seek(offset)
        return stream.read(wanted)


def _tensor_bytes(tensor: TensorProto) -> int:
    count: int = math.prod(tensor.dims)
    bits = NARROW_BITS.get(tensor.data_type)
    if bits is not None:
        return -(-count * bits // 8)
    return count * int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize)


def _data_file(path: Path, location: str, where: str) -> Path:
    """Return the file of a location; it is a plain one, and below the folder of the model."""
    parts = PurePosixPath(location)
    if not location or parts.is_absolute() or ".." in parts.parts or "\\" in location:
        raise CheckpointError(
            f"{where}: external data `{location}` lies outside the model's folder",
            hint="put the data file beside the model, and its name into the model",
        )
    file = path.parent
    for part in parts.parts:
        file = file / part
        if file.is_symlink():
            raise CheckpointError(
                f"{where}: external data `{location}` is a symbolic link, or behind one",
                hint="put the data file itself beside the model",
            )
    try:
        status = file.stat()
    except OSError as error:
        raise CheckpointError(
            f"{where}: external data `{location}` cannot be read: {error.strerror}",
            hint="the data file belongs beside the model",
        ) from error
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        what = "has a second hard link" if stat.S_ISREG(status.st_mode) else "is no plain file"
        raise CheckpointError(
            f"{where}: external data `{location}` {what}",
            hint="put a copy of the data file beside the model",
        )
    return file
