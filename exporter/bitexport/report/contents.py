"""What two files of a kind are compared by: tensors with their numbers, ops, bytes and options."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from bitexport.checkpoints import gguf_blocks
from bitexport.checkpoints.checkpoint import GGUF, Checkpoint, open_checkpoint
from bitexport.checkpoints.matrix import Kind
from bitexport.checkpoints.packed_trits import LANES
from bitexport.checkpoints.safetensors_file import read_header
from bitexport.checkpoints.stored_tensor import BLOCKS, StoredTensor
from bitexport.emit.manifest import DATA, MANIFEST, file_digests, open_bundle
from bitexport.errors import BitexportError
from bitexport.ops import DOMAIN
from bitexport.report.graph import (
    PACKED_SUFFIXES,
    Graph,
    dtype_name,
    graph_of_onnx,
    graph_of_plan,
)
from bitexport.report.inspect import SECTIONS, load_bitx, load_onnx
from bitexport_ref.bitx import Bitx, provenance
from bitexport_ref.bitx_records import Dtype, Layout, Tensor
from bitexport_ref.layouts import LAYOUTS, PackedMatrix
from bitexport_ref.stored import FileBytes, StoredArray

Numbers = NDArray[np.generic]
Options = Mapping[str, str]

GIVE = "give two checkpoints, two bundles, or two .safetensors, .bitx or .onnx files"
READ_BY_BUILD = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
)  # fmt: skip
"""Of a checkpoint, beside the weights."""
NOT_OPTIONS = ("files", "memory", "measured", "manifest_version")
"""Of a manifest."""
SCALED = ("s8", "u8", "s4", "u4", "s2", "u2")
"""Dtypes of ONNX whose numbers a scale elsewhere belongs to."""
TITLES: Mapping[str, str] = {
    "checkpoint": "a checkpoint", "safetensors": "a .safetensors file", "bundle": "a bundle",
    "bitx": "a .bitx file", "onnx": "an ONNX graph",
}  # fmt: skip
PLAIN: Mapping[Dtype, np.dtype[Any]] = {
    Dtype.F32: np.dtype("<f4"), Dtype.F16: np.dtype("<f2"), Dtype.BF16: np.dtype("<u2"),
    Dtype.S8: np.dtype("i1"), Dtype.U8: np.dtype("u1"), Dtype.S32: np.dtype("<i4"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Readable:
    """Numbers that can be read by rows: [rows, columns]."""

    scaled: bool
    """Integers that a scale elsewhere belongs to; others stand for themselves."""
    read: Callable[[int, int], Numbers]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Held:
    """A tensor, and the ways in which its numbers can be read, best first."""

    shape: tuple[int, ...]
    stored: str
    """Dtype, block type or layout."""
    bytes: int
    ways: tuple[Readable, ...]

    @property
    def type(self) -> str:
        """Stored form and shape as text."""
        return f"{self.stored} {list(self.shape)}"

    @property
    def rows(self) -> int:
        """Rows of the first axis."""
        return self.shape[0] if self.shape else 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contents:
    """One side of a comparison."""

    path: Path
    kind: str
    """One of TITLES."""
    tensors: Mapping[str, Held]
    ops: Mapping[str, Mapping[str, str]]
    """By what they write: op, what it reads, its attributes, the types of what it makes."""
    bytes: Mapping[str, tuple[int, str]]
    """By file or section: size and SHA-256."""
    options: Options


def read_contents(path: Path) -> Contents:
    """Read one side; numbers are read when they are asked for."""
    if not path.exists():
        raise BitexportError(f"{path}: no such file or folder", hint=GIVE)
    if path.is_dir() and (path / MANIFEST).is_file():
        return _bundle(path)
    readers = {".bitx": _bitx, ".onnx": _onnx, ".safetensors": _safetensors}
    return readers.get(path.suffix, _checkpoint)(path)


def alike(first: Contents, second: Contents) -> tuple[Contents, Contents]:
    """Return both as the same kind, or refuse: a bundle and a .bitx file are compared as files."""
    kinds = {first.kind, second.kind}
    if kinds == {"bundle", "bitx"}:
        return _plan_of(first), _plan_of(second)
    if len(kinds) > 1 and kinds != {"checkpoint", "safetensors"}:
        raise BitexportError(
            f"{first.path} is {TITLES[first.kind]}, {second.path} {TITLES[second.kind]}: they are "
            "of two kinds",
            hint=GIVE,
        )
    return first, second


def _plan_of(contents: Contents) -> Contents:
    return _bitx(contents.path / DATA) if contents.kind == "bundle" else contents


# ---- checkpoints -----------------------------------------------------------------------------


def _checkpoint(path: Path) -> Contents:
    checkpoint = open_checkpoint(path)
    return Contents(
        path=path, kind="checkpoint", tensors=_stored(checkpoint.tensors.values()), ops={},
        bytes=_file_sizes(_files_of(checkpoint)),
        options={"container": checkpoint.container, **flat(checkpoint.config)},
    )  # fmt: skip


def _files_of(checkpoint: Checkpoint) -> list[Path]:
    files = {tensor.file for tensor in checkpoint.tensors.values()}
    if checkpoint.container == GGUF:
        return sorted(files)
    beside = [checkpoint.path / name for name in READ_BY_BUILD]
    return sorted({*files, *(file for file in beside if file.is_file())})


def _safetensors(path: Path) -> Contents:
    return Contents(
        path=path, kind="safetensors", tensors=_stored(read_header(path).values()), ops={},
        bytes={"the file": _file_size(path)}, options={},
    )  # fmt: skip


def _stored(tensors: Iterable[StoredTensor]) -> dict[str, Held]:
    every = {tensor.name: tensor for tensor in tensors}
    return {
        name: _packed(tensor)
        if tensor.dtype == "U8" and f"{name}_scale" in every
        else Held(shape=tensor.shape, stored=tensor.dtype, bytes=tensor.nbytes, ways=_ways(tensor))
        for name, tensor in every.items()
    }


def _packed(tensor: StoredTensor) -> Held:
    """Return trits of which a byte holds four, rows a quarter of the matrix apart."""
    quarter, *rest = tensor.shape

    @functools.lru_cache(maxsize=1)
    def whole() -> NDArray[np.int8]:
        bytes_ = tensor.read_rows(0, quarter).astype(np.uint8, copy=False).reshape(quarter, -1)
        lanes = [(bytes_ >> np.uint8(2 * lane) & np.uint8(3)) for lane in range(LANES)]
        return np.concatenate(lanes).astype(np.int8) - np.int8(1)

    def read(start: int, stop: int) -> Numbers:
        return whole()[start:stop]

    return Held(
        shape=(LANES * quarter, *rest), stored="packed trits", bytes=tensor.nbytes,
        ways=(Readable(scaled=True, read=read),),
    )  # fmt: skip


def _ways(tensor: StoredTensor) -> tuple[Readable, ...]:
    if tensor.dtype in gguf_blocks.KINDS:
        codes = Readable(scaled=True, read=functools.partial(gguf_blocks.integers, tensor))
        products = Readable(scaled=False, read=functools.partial(_products, tensor))
        is_trits = gguf_blocks.KINDS[tensor.dtype] is Kind.TRITS
        return (products, codes) if is_trits else (products,)
    if tensor.dtype in BLOCKS:
        return (Readable(scaled=False, read=functools.partial(gguf_blocks.widened, tensor)),)
    return (Readable(scaled=False, read=functools.partial(_rows, tensor)),)


def _products(tensor: StoredTensor, start: int, stop: int) -> Numbers:
    """Return what the integers of blocks stand for: times their scales."""
    values = gguf_blocks.integers(tensor, start, stop).astype(np.float32)
    if tensor.dtype == "I2_S":
        return values * gguf_blocks.tensor_scale(tensor)
    scales = gguf_blocks.block_scales(tensor, start, stop).astype(np.float32)
    return values * np.repeat(scales, BLOCKS[tensor.dtype][0], axis=1)


def _rows(tensor: StoredTensor, start: int, stop: int) -> Numbers:
    if not tensor.shape:
        return _widened(tensor.read().reshape(1, 1), bf16=tensor.dtype == "BF16")
    return _widened(
        tensor.read_rows(start, stop).reshape(stop - start, -1), bf16=tensor.dtype == "BF16"
    )


def _widened(rows: Numbers, *, bf16: bool) -> Numbers:
    """Return rows of which bfloat16 patterns have become the floats that they are."""
    return (rows.astype(np.uint32) << np.uint32(16)).view(np.float32) if bf16 else rows


# ---- bundles and .bitx files -----------------------------------------------------------------


def _bundle(path: Path) -> Contents:
    bundle = open_bundle(path)
    plan = _bitx(path / DATA)
    options = {key: value for key, value in bundle.manifest.items() if key not in NOT_OPTIONS}
    options["onnx"] = ", ".join(sorted(options.get("onnx", ())))
    digests = file_digests(path)
    return dataclasses.replace(
        plan, path=path, kind="bundle", options=flat(options),
        bytes={name: ((path / name).stat().st_size, digest) for name, digest in digests.items()},
    )  # fmt: skip


def _bitx(path: Path) -> Contents:
    bitx = load_bitx(path)
    sections = {
        SECTIONS[section.id]: (section.size, section.sha256.hex()) for section in bitx.sections
    }
    about = {
        "minimum_runtime": bitx.min_runtime,
        **dataclasses.asdict(bitx.facts),
        "provenance": provenance(bitx) or {},
    }
    return Contents(
        path=path, kind="bitx",
        tensors={tensor.name: _file_tensor(bitx, tensor) for tensor in bitx.tensors},
        ops=_ops(graph_of_plan(bitx, "")), bytes=sections, options=flat(about),
    )  # fmt: skip


def _file_tensor(bitx: Bitx, tensor: Tensor) -> Held:
    assert isinstance(bitx.blob, FileBytes)
    read: Callable[[int, int], Numbers]
    if tensor.layout is Layout.PLAIN:
        shape = (tensor.shape[0], math.prod(tensor.shape[1:]))
        array = StoredArray(bitx.blob, PLAIN[tensor.dtype], shape, tensor.offset)
        read = functools.partial(_plain_rows, array, bf16=tensor.dtype is Dtype.BF16)
        stored = tensor.dtype.name.lower()
    else:
        packed = StoredArray(bitx.blob, np.dtype(np.uint8), (tensor.size,), tensor.offset)
        read = _unpacking(packed, tensor.layout.name.lower(), tensor.shape)
        stored = tensor.layout.name.lower()
    scaled = tensor.layout is not Layout.PLAIN or tensor.dtype is Dtype.S8
    return Held(
        shape=tensor.shape, stored=stored, bytes=tensor.size,
        ways=(Readable(scaled=scaled, read=read),),
    )  # fmt: skip


def _plain_rows(array: StoredArray[Any], start: int, stop: int, *, bf16: bool) -> Numbers:
    return _widened(array[start:stop], bf16=bf16)


def _unpacking(
    packed: StoredArray[np.uint8] | NDArray[np.uint8], layout: str, shape: tuple[int, ...]
) -> Callable[[int, int], Numbers]:
    n, k = shape
    matrix = PackedMatrix(packed, LAYOUTS[layout], n=n, k=k)
    return lambda start, stop: matrix[start:stop]


def _ops(graph: Graph) -> dict[str, Mapping[str, str]]:
    return {
        ", ".join(value.name for value in node.outputs) or node.op: {
            "op": node.op,
            "reads": ", ".join((*node.inputs, *(weight.name for weight in node.weights))),
            "attributes": ", ".join(node.attributes),
            "makes": ", ".join(value.type for value in node.outputs),
        }
        for node in graph.nodes
    }


# ---- ONNX ------------------------------------------------------------------------------------


def _onnx(path: Path) -> Contents:
    model = load_onnx(path)
    packed = {
        name: (node, attribute)
        for node in model.graph.node if node.domain == DOMAIN
        for name in node.input
        for attribute in [{each.name: each.i for each in node.attribute}]
        if {"n", "k"} <= attribute.keys()
    }  # fmt: skip
    graph = graph_of_onnx(model, path.name)
    about = {
        "ir_version": model.ir_version,
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "input": {value.name: value.type for value in graph.inputs},
        "output": dict.fromkeys(graph.outputs, "an output"),
        "function": {function.name: _digest(function) for function in model.functions},
        "metadata": {entry.key: entry.value for entry in model.metadata_props},
        "producer": model.producer_name,
    }
    external = {
        entry.value for tensor in model.graph.initializer for entry in tensor.external_data
        if entry.key == "location"
    }  # fmt: skip
    return Contents(
        path=path, kind="onnx",
        tensors={tensor.name: _initializer(path, tensor, *packed.get(tensor.name, (None, {})))
                 for tensor in model.graph.initializer},
        ops=_ops(graph), options=flat(about),
        bytes={"the file": _file_size(path),
               **{name: _file_size(_beside(path, name)) for name in sorted(external)}},
    )  # fmt: skip


def _digest(function: onnx.FunctionProto) -> str:
    return hashlib.sha256(function.SerializeToString(deterministic=True)).hexdigest()[:16]


def _initializer(
    path: Path, tensor: onnx.TensorProto, node: onnx.NodeProto | None, sizes: Mapping[str, int]
) -> Held:
    stored = dtype_name(tensor.data_type)
    array = functools.lru_cache(maxsize=1)(lambda: _loaded(path, tensor))
    suffix = next((s for s in PACKED_SUFFIXES if node is not None and s in node.op_type), "")
    nbytes = _initializer_bytes(tensor)
    if suffix and tensor.data_type == onnx.TensorProto.UINT8:
        shape = (sizes["n"], sizes["k"])

        def unpacked(start: int, stop: int) -> Numbers:
            return _unpacking(array(), suffix.lower(), shape)(start, stop)

        way = Readable(scaled=True, read=unpacked)
        return Held(shape=shape, stored=suffix.lower(), bytes=nbytes, ways=(way,))

    def read(start: int, stop: int) -> Numbers:
        whole = array()
        return whole.reshape(whole.shape[0] if whole.shape else 1, -1)[start:stop]

    way = Readable(scaled=stored in SCALED, read=read)
    return Held(shape=tuple(tensor.dims), stored=stored, bytes=nbytes, ways=(way,))


def _initializer_bytes(tensor: onnx.TensorProto) -> int:
    said = {entry.key: entry.value for entry in tensor.external_data}.get("length", "")
    return int(said) if said.isdigit() else len(onnx.numpy_helper.to_array(tensor).tobytes())


def _loaded(path: Path, tensor: onnx.TensorProto) -> NDArray[Any]:
    """Return an initializer, from beside the file if it lies there."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        loaded = onnx.TensorProto()
        loaded.CopyFrom(tensor)
        try:
            onnx.external_data_helper.load_external_data_for_tensor(loaded, str(path.parent))
            loaded.ClearField("data_location")
            tensor = loaded
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise _outside(path, tensor.name, str(error).splitlines()[0]) from error
    try:
        array: NDArray[Any] = onnx.numpy_helper.to_array(tensor)
    except (TypeError, ValueError) as error:
        raise _outside(path, tensor.name, str(error).splitlines()[0]) from error
    return array if array.dtype.kind in "biufc" else array.astype(np.float32)


def _outside(path: Path, name: str, why: str) -> BitexportError:
    return BitexportError(
        f"{path}: the bytes of tensor `{name}` cannot be read: {why}",
        hint="copy the file together with its external data",
    )


def _beside(path: Path, location: str) -> Path:
    found = path.parent / location
    if Path(location).is_absolute() or ".." in Path(location).parts or not found.is_file():
        raise BitexportError(
            f"{path}: its external data `{location}` is no file beside it",
            hint="copy the file together with its external data",
        )
    return found


# ---- bytes and options -----------------------------------------------------------------------


def _file_sizes(files: Iterable[Path]) -> dict[str, tuple[int, str]]:
    return {file.name: _file_size(file) for file in files}


def _file_size(file: Path) -> tuple[int, str]:
    try:
        with file.open("rb") as stream:
            return file.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BitexportError(
            f"{file}: cannot be read: {error.strerror}", hint="copy it again"
        ) from error


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested objects as one, keys joined by dots and what they say as text."""
    found: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = str(value)
    return found
