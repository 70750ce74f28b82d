"""Reads a saved model.onnx: its nodes, bound to the ops that compute them, and its weights."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import math
import mmap
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
from bitexport_ref.numerics import S8

Array = NDArray[Any]

DOMAIN = "ai.bitexport"
DOMAIN_VERSION = 1
STANDARD_OPS = frozenset({"Add", "Mul", "Relu"})

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

    A weight that is packed is operand 1 and goes through `unpack` before the function sees it.
    """

    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    function: Callable[..., Array | tuple[Array, ...]]
    attributes: Mapping[str, Any]
    operand_dtypes: tuple[frozenset[np.dtype[Any]], ...]
    unpack: Callable[..., S8] | None = None
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
    """Everything a model.onnx says; weights are mapped, not copied."""

    path: Path
    inputs: tuple[GraphInput, ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, Array]
    steps: tuple[Step, ...]


def read_graph(path: str | os.PathLike[str]) -> Graph:
    """Read model.onnx and map the files that its weights lie in."""
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
        return Step("Shape", inputs, outputs, _shape, attributes, (frozenset(_STORED.values()),))
    function, unpack = _find_op(path, node)
    taken: set[str] = set()
    split: list[dict[str, Any]] = []
    for callee in (function, unpack):
        wanted = _keywords(callee) if callee else set()
        split.append({key: value for key, value in attributes.items() if key in wanted})
        taken |= wanted
    unknown, absent = attributes.keys() - taken, taken - attributes.keys()
    for problem, keys in (("unknown", unknown), ("no", absent)):
        if keys:
            message = f"{path}: {node.op_type} `{outputs[0]}`: {problem} attribute `{min(keys)}`"
            raise ReferenceFailure(message)
    dtypes = _operand_dtypes(function)
    if unpack is not None:
        dtypes = (dtypes[0], *_operand_dtypes(unpack), *dtypes[2:])
    return Step(node.op_type, inputs, outputs, function, split[0], dtypes, unpack, split[1])


def _shape(x: Array, *, start: int, end: int) -> Array:
    """Return some dimensions of a value, as ONNX `Shape` does."""
    return np.array(x.shape[start:end], np.int64)


def _find_op(
    path: Path, node: onnx.NodeProto
) -> tuple[Callable[..., Array | tuple[Array, ...]], Callable[..., S8] | None]:
    """Return the function of an op type, and the one that unpacks its weight if it is packed.

    `EmbedQ8` is `embed.embed_q8`.  `TernaryMatMulP2R` is `ternary_matmul.ternary_matmul` after
    `ternary_matmul.unpack_p2r`: a layout is no part of the mathematics.
    """
    domain = "" if node.op_type in STANDARD_OPS else DOMAIN
    name, storage = _module_and_storage(node.op_type)
    module_name = f"bitexport_ref.ops.{name}"
    if node.domain == domain and name and importlib.util.find_spec(module_name):
        module: types.ModuleType = importlib.import_module(module_name)
        if storage and hasattr(module, f"unpack_{storage}"):
            return getattr(module, name), getattr(module, f"unpack_{storage}")
        function = getattr(module, f"{name}_{storage}" if storage else name, None)
        if function is not None:
            return function, None
    kind = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    message = f"{path}: the reference does not know the op `{kind}` that writes `{node.output[0]}`"
    raise ReferenceFailure(message)


def _module_and_storage(op_type: str) -> tuple[str, str]:
    """Split `TernaryMatMulP2R` into `ternary_matmul` and `p2r`."""
    match = re.fullmatch(r"([A-Za-z]+?)([A-Z][a-z]*[0-9][0-9A-Za-z]*)?", op_type)
    if match is None:
        return "", ""
    words = re.findall(r"[A-Z][a-z]*", match[1].replace("MatMul", "Matmul"))
    return "_".join(words).lower(), (match[2] or "").lower()


def _keywords(function: Callable[..., object]) -> set[str]:
    """Return the attributes that a function takes."""
    parameters = inspect.signature(function).parameters.values()
    return {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}


def _operand_dtypes(function: Callable[..., object]) -> tuple[frozenset[np.dtype[Any]], ...]:
    """Read the dtypes of the operands off a function's signature."""
    hints = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    return tuple(
        frozenset(_dtypes_of(hints[each.name]))
        for each in parameters
        if each.kind is not each.KEYWORD_ONLY
    )


def _dtypes_of(hint: Any) -> list[np.dtype[Any]]:
    """Return the dtypes of `NDArray[np.float32]`, or of a union of such."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return [dtype for part in typing.get_args(hint) for dtype in _dtypes_of(part)]
    (element,) = typing.get_args(typing.get_args(hint)[1])
    return [np.dtype(element)]


def _read_weights(path: Path, tensors: Sequence[onnx.TensorProto]) -> dict[str, Array]:
    """Map every initializer: external ones into their file, inline ones into the graph."""
    files: dict[str, bytes | mmap.mmap] = {}
    weights: dict[str, Array] = {}
    for tensor in tensors:
        where = f"{path}: tensor `{tensor.name}`"
        if tensor.data_type not in _STORED:
            kind = onnx.TensorProto.DataType.Name(tensor.data_type)
            message = f"{where} has dtype {kind}, which the reference lacks"
            raise ReferenceFailure(message)
        dtype = _STORED[tensor.data_type]
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            location, offset, length = _external_place(tensor, where)
            if location not in files:
                files[location] = _map_beside(path, location, where)
            data = files[location]
        else:
            data = tensor.raw_data or onnx.numpy_helper.to_array(tensor).tobytes()
            location, offset, length = "the graph", 0, len(data)
        count = math.prod(tensor.dims)
        if length != count * dtype.itemsize:
            asked = count * dtype.itemsize
            message = f"{where} has {length} bytes, its shape and dtype ask for {asked}"
            raise ReferenceFailure(message)
        if offset + length > len(data):
            message = f"{where}: bytes {offset} to {offset + length} are outside {location}"
            raise ReferenceFailure(message)
        array: Array = np.frombuffer(data, dtype, count, offset) if count else np.empty(0, dtype)
        weights[tensor.name] = array.reshape(tuple(tensor.dims))
    return weights


def _external_place(tensor: onnx.TensorProto, where: str) -> tuple[str, int, int]:
    """Return file, offset and length of external data; all three must be there."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    numbers = [said.get(key, "") for key in ("offset", "length")]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        message = f"{where}: external data without a sound offset and length: {said}"
        raise ReferenceFailure(message)
    return said.get("location", ""), int(numbers[0]), int(numbers[1])


def _map_beside(path: Path, location: str, where: str) -> bytes | mmap.mmap:
    """Map a file of external data; it lies in the folder of the model or below."""
    parts = PurePosixPath(location)
    if not location or parts.is_absolute() or ".." in parts.parts or "\\" in location:
        message = f"{where}: external data `{location}` is not a file beside the model"
        raise ReferenceFailure(message)
    try:
        with (path.parent / parts).open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return b""
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as failure:
        message = f"{where}: external data `{location}` cannot be read: {failure.strerror}"
        raise ReferenceFailure(message) from failure
