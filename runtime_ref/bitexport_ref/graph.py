"""Reads a saved model.onnx: its nodes, bound to the ops that compute them, and its weights."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import inspect
import math
import os
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from bitexport_ref.errors import ReferenceFailure
from bitexport_ref.layouts import LAYOUTS, BandLayout, Layout, PackedMatrix
from bitexport_ref.stored import FileBytes, Rows, StoredArray

Array = NDArray[Any]

DOMAIN = "ai.bitexport"
DOMAIN_VERSION = 1
STANDARD_OPS = frozenset({"Add", "Mul", "Relu", "Softmax"})

_PACKED = 1
"""Which operand of an op is the one that may be packed."""

_STORED: dict[int, np.dtype[Any]] = {
    onnx.TensorProto.FLOAT: np.dtype("<f4"),
    onnx.TensorProto.FLOAT16: np.dtype("<f2"),
    onnx.TensorProto.BFLOAT16: np.dtype("<u2"),  # numpy has no bf16: the bits stand for it
    onnx.TensorProto.INT8: np.dtype("i1"),
    onnx.TensorProto.UINT8: np.dtype("u1"),
    onnx.TensorProto.INT32: np.dtype("<i4"),
    onnx.TensorProto.INT64: np.dtype("<i8"),
}


@dataclasses.dataclass(frozen=True)
class Step:
    """One node, bound to the function that computes it.

    A weight that is packed is operand 1; `unpack` makes of its bytes the matrix that the function
    takes.
    """

    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    function: Callable[..., Array | tuple[Array, ...]]
    attributes: Mapping[str, Any]
    operand_dtypes: tuple[frozenset[np.dtype[Any]], ...]
    by_rows: tuple[bool, ...]
    """Which operands the function reads by rows, where they lie; the others it takes whole."""
    unpack: Callable[..., PackedMatrix] | None = None
    unpack_attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_traced(self) -> bool:
        """`Shape` is bookkeeping of the ONNX form, no op of the plan."""
        return self.op_type != "Shape"


@dataclasses.dataclass(frozen=True)
class GraphInput:
    """A named input; None for a dimension that a call decides."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Graph:
    """Everything a model.onnx says; matrices stay in their file until rows of them are read."""

    path: Path
    inputs: tuple[GraphInput, ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, Array | StoredArray[Any]]
    steps: tuple[Step, ...]


def read_graph(path: str | os.PathLike[str]) -> Graph:
    """Read model.onnx and open the files that its weights lie in."""
    path = Path(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError) as failure:
        message = f"{path}: not a readable ONNX file: {failure}"
        raise ReferenceFailure(message) from failure
    version = {entry.domain: entry.version for entry in model.opset_import}.get(DOMAIN)
    if version not in (None, DOMAIN_VERSION):
        message = f"{path}: version {version} of domain {DOMAIN}, the reference has 1"
        raise ReferenceFailure(message)
    weights = _read_weights(path, model.graph.initializer)
    inputs = [_graph_input(path, value) for value in model.graph.input if value.name not in weights]
    steps = [_bind(path, node) for node in model.graph.node]
    outputs = [value.name for value in model.graph.output]
    graph = Graph(path, tuple(inputs), tuple(outputs), weights, tuple(steps))
    _check_wiring(graph)
    return graph


def _graph_input(path: Path, value: onnx.ValueInfoProto) -> GraphInput:
    """Read name, dtype and shape of a graph input."""
    tensor = value.type.tensor_type
    if tensor.elem_type not in _STORED:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        message = f"{path}: input `{value.name}` has dtype {kind}, which the reference lacks"
        raise ReferenceFailure(message)
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
    return GraphInput(value.name, _STORED[tensor.elem_type], shape)


def _check_wiring(graph: Graph) -> None:
    """Refuse a graph that reads what nothing before it wrote, or writes a name twice."""
    known = {value.name for value in graph.inputs} | graph.weights.keys()
    for step in graph.steps:
        for name in step.inputs:
            if name not in known:
                message = f"{graph.path}: {step.op_type} reads `{name}`, which nothing wrote before"
                raise ReferenceFailure(message)
        for name in step.outputs:
            if name in known:
                message = f"{graph.path}: {step.op_type} writes `{name}` a second time"
                raise ReferenceFailure(message)
            known.add(name)
    for name in graph.outputs:
        if name not in known:
            message = f"{graph.path}: nothing writes the output `{name}`"
            raise ReferenceFailure(message)


def _bind(path: Path, node: onnx.NodeProto) -> Step:
    """Find the function of a node and check that it takes the node's attributes."""
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    inputs, outputs = tuple(node.input), tuple(node.output)
    if not node.domain and node.op_type == "Shape":
        known = (frozenset(_STORED.values()),)
        return Step("Shape", inputs, outputs, _shape, attributes, known, (False,))
    function, layout = _find_op(path, node)
    of_layout = {"n", "k"} if layout else set()
    taken = _keywords(function) | of_layout
    unknown, absent = attributes.keys() - taken, taken - attributes.keys()
    for problem, keys in (("unknown", unknown), ("no", absent)):
        if keys:
            message = f"{path}: {node.op_type} `{outputs[0]}`: {problem} attribute `{min(keys)}`"
            raise ReferenceFailure(message)
    for key in sorted(of_layout):
        if not isinstance(attributes[key], int) or attributes[key] < 1:
            message = (
                f"{path}: {node.op_type} `{outputs[0]}`: attribute `{key}` is {attributes[key]!r}, "
                "not a number of rows or columns"
            )
            raise ReferenceFailure(message)
    operands = _operands(function)
    dtypes = [dtypes for dtypes, _ in operands]
    if layout:
        dtypes[_PACKED] = frozenset({np.dtype(np.uint8)})
    return Step(
        node.op_type,
        inputs,
        outputs,
        function,
        {key: value for key, value in attributes.items() if key not in of_layout},
        tuple(dtypes),
        tuple(by_rows for _, by_rows in operands),
        functools.partial(PackedMatrix, layout=layout) if layout else None,
        {key: attributes[key] for key in of_layout},
    )


def _shape(x: Array, *, start: int, end: int) -> Array:
    """Return some dimensions of a value, as ONNX `Shape` does."""
    return np.array(x.shape[start:end], np.int64)


def _find_op(
    path: Path, node: onnx.NodeProto
) -> tuple[Callable[..., Array | tuple[Array, ...]], Layout | BandLayout | None]:
    """Return the function of an op type, and the layout of its weight if it is packed.

    `EmbedQ8` is `embed.embed_q8`.  `TernaryMatMulP2R` is `ternary_matmul.ternary_matmul` of a
    weight in layout p2r: a layout is no part of the mathematics.
    """
    domain = "" if node.op_type in STANDARD_OPS else DOMAIN
    suffix = next((each for each in map(str.upper, LAYOUTS) if node.op_type.endswith(each)), "")
    layout = LAYOUTS.get(suffix.lower())
    words = _words(node.op_type.removesuffix(suffix))
    name = "_".join(words)
    for module_name in (name, "_".join(words[:-1])):
        module = _op_module(module_name)
        function = getattr(module, name, None)
        if node.domain == domain and module is not None and function is not None:
            has = getattr(module, "LAYOUTS", (None,))
            if function.__module__ == module.__name__ and layout in has:
                return function, layout
    kind = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    message = f"{path}: the reference does not know the op `{kind}` that writes `{node.output[0]}`"
    raise ReferenceFailure(message)


def _words(op_type: str) -> list[str]:
    """Split `GroupMatMulInt16` into `group`, `matmul`, `int16`; a name of another form has none."""
    if not re.fullmatch(r"(?:[A-Z][a-z]*[0-9]*)+", op_type):
        return []
    words = re.findall(r"[A-Z][a-z]*[0-9]*", op_type.replace("MatMul", "Matmul"))
    return [word.lower() for word in words]


def _op_module(name: str) -> types.ModuleType | None:
    """Return the file of an op, if there is one."""
    path = f"bitexport_ref.ops.{name}"
    return importlib.import_module(path) if name and importlib.util.find_spec(path) else None


def _keywords(function: Callable[..., object]) -> set[str]:
    """Return the attributes that a function takes."""
    parameters = inspect.signature(function).parameters.values()
    return {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}


def _operands(function: Callable[..., object]) -> list[tuple[frozenset[np.dtype[Any]], bool]]:
    """Read off a function's signature which dtypes an operand may have, and if it is read by rows.

    `NDArray[np.float32]` is taken whole, `Rows[np.float32]` by rows; there may be a union of such.
    """
    hints = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    operands = []
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY:
            continue
        hint = hints[each.name]
        union = typing.get_origin(hint) in (types.UnionType, typing.Union)
        parts: tuple[Any, ...] = typing.get_args(hint) if union else (hint,)
        by_rows = [part is PackedMatrix or typing.get_origin(part) is Rows for part in parts]
        dtypes = frozenset(_dtype_of(part) for part in parts if part is not PackedMatrix)
        operands.append((dtypes, any(by_rows)))
    return operands


def _dtype_of(hint: Any) -> np.dtype[Any]:
    """Return the dtype of `NDArray[np.float32]` or `Rows[np.float32]`."""
    is_rows = typing.get_origin(hint) is Rows
    element = hint if is_rows else typing.get_args(hint)[1]
    dtype: np.dtype[Any] = np.dtype(typing.get_args(element)[0])
    return dtype


def _read_weights(
    path: Path, tensors: Sequence[onnx.TensorProto]
) -> dict[str, Array | StoredArray[Any]]:
    """Find every initializer; vectors of numbers are read at once, the rest stays in its file."""
    files: dict[str, FileBytes] = {}
    weights: dict[str, Array | StoredArray[Any]] = {}
    for tensor in tensors:
        where = f"{path}: tensor `{tensor.name}`"
        if tensor.data_type not in _STORED:
            kind = onnx.TensorProto.DataType.Name(tensor.data_type)
            message = f"{where} has dtype {kind}, which the reference lacks"
            raise ReferenceFailure(message)
        dtype, shape = _STORED[tensor.data_type], tuple(tensor.dims)
        asked = math.prod(shape) * dtype.itemsize
        inline = b""
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            location, offset, length = _external_place(tensor, where)
        else:
            inline = tensor.raw_data or onnx.numpy_helper.to_array(tensor).tobytes()
            location, offset, length = "", 0, len(inline)
        if length != asked:
            message = f"{where} has {length} bytes, its shape and dtype ask for {asked}"
            raise ReferenceFailure(message)
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            weights[tensor.name] = np.frombuffer(inline, dtype).reshape(shape)
            continue
        if location not in files:
            files[location] = _open_beside(path, location, where)
        if offset + length > len(files[location]):
            message = f"{where}: bytes {offset} to {offset + length} are outside {location}"
            raise ReferenceFailure(message)
        stored = StoredArray(files[location], dtype, shape, offset)
        is_vector = len(shape) == 1 and dtype != np.uint8
        weights[tensor.name] = stored[:] if is_vector else stored
    return weights


def _external_place(tensor: onnx.TensorProto, where: str) -> tuple[str, int, int]:
    """Return file, offset and length of external data; all three must be there."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    numbers = [said.get(key, "") for key in ("offset", "length")]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        message = f"{where}: external data without a sound offset and length: {said}"
        raise ReferenceFailure(message)
    return said.get("location", ""), int(numbers[0]), int(numbers[1])


def _open_beside(path: Path, location: str, where: str) -> FileBytes:
    """Open a file of external data; it lies in the folder of the model or below."""
    parts = PurePosixPath(location)
    if not location or parts.is_absolute() or ".." in parts.parts or "\\" in location:
        message = f"{where}: external data `{location}` is not a file beside the model"
        raise ReferenceFailure(message)
    try:
        return FileBytes(path.parent / parts)
    except OSError as failure:
        message = f"{where}: external data `{location}` cannot be read: {failure.strerror}"
        raise ReferenceFailure(message) from failure
