"""What a file is: facts about a checkpoint, a bundle, a graph or a .bitx file, as plain data."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from bitexport.checkpoints.checkpoint import GGUF, Checkpoint, open_checkpoint
from bitexport.checkpoints.decode import Scheme
from bitexport.checkpoints.gguf_blocks import KINDS
from bitexport.checkpoints.gguf_file import has_magic, read_file
from bitexport.checkpoints.matrix import Kind
from bitexport.checkpoints.safetensors_file import read_header
from bitexport.checkpoints.stored_tensor import StoredTensor
from bitexport.emit.manifest import DATA, MANIFEST, open_bundle
from bitexport.errors import BitexportError, BundleError, CheckpointError
from bitexport.models import recognise
from bitexport.models.parts.options import Options
from bitexport.models.parts.shape import read_config
from bitexport.report.matrices import matrices
from bitexport_ref.arithmetic import stored_arithmetic
from bitexport_ref.bitx import Bitx, BitxError, check_hashes, open_bitx, provenance, self_test

Facts = dict[str, Any]
PACKED_LANES = 4
FEW_BITS = {name for name, kind in KINDS.items() if kind in (Kind.TRITS, Kind.SIGNS)}
READ_AS: Mapping[Scheme, str] = {
    Scheme.DIVIDED: "packed trits, the scale divides",
    Scheme.MULTIPLIED: "packed trits, the scale multiplies",
    Scheme.ABSMEAN: "float masters, made trits by absmean",
    Scheme.UNPACKED: "floats that are {-s, 0, s} already",
    Scheme.FLOAT: "floats",
}
BY_TYPE = "each tensor by its own type"
# FORMAT.md, section 2
SECTIONS: Mapping[int, str] = {
    1: "facts", 2: "strings", 4: "tensors", 5: "values", 6: "ops", 7: "operands", 8: "data",
    9: "tokenizer", 10: "chat template", 11: "generation defaults", 12: "self-test",
    13: "provenance", 14: "arithmetic",
}  # fmt: skip
GIVE = "give a checkpoint folder, a bundle, or a .gguf, .safetensors, .onnx or .bitx file"


def inspect(path: Path) -> Facts:
    """Say what a path holds: a folder by what lies in it, a file by its suffix."""
    if not path.exists():
        raise BitexportError(f"{path}: no such file or folder", hint=GIVE)
    if path.is_dir():
        return _bundle(path) if (path / MANIFEST).is_file() else _checkpoint(path)
    readers: dict[str, Callable[[Path], Facts]] = {
        ".bitx": _bitx,
        ".gguf": _gguf,
        ".onnx": _onnx,
        ".safetensors": _safetensors,
    }
    if path.suffix not in readers and has_magic(path):
        return _gguf(path)
    if path.suffix not in readers:
        raise BitexportError(f"{path}: not a kind of file that inspect knows", hint=GIVE)
    return readers[path.suffix](path)


def _checkpoint(path: Path) -> Facts:
    checkpoint = open_checkpoint(path)
    config = checkpoint.config
    quantization = config.get("quantization_config")
    if isinstance(quantization, dict):
        quantization = {key: value for key, value in quantization.items() if key != "types"}
    return {
        "kind": "checkpoint",
        "path": str(path),
        "container": checkpoint.container,
        **_family(checkpoint),
        "model_type": config.get("model_type"),
        "quantization": quantization,
        "config": {
            key: value
            for key, value in config.items()
            if isinstance(value, int | float | str | bool) and key != "model_type"
        },
        **_tensors(list(checkpoint.tensors.values())),
    }


def _family(checkpoint: Checkpoint) -> Facts:
    """Say which family a checkpoint belongs to, or what keeps it from being built."""
    try:
        family = recognise(checkpoint)
        found = read_config(checkpoint, family, Options()).quantization
    except CheckpointError as error:
        return {"not supported": f"{error} ({error.hint})"}
    return {
        "family": family.name,
        "read as": BY_TYPE if checkpoint.container == GGUF else READ_AS[found.scheme],
        "activations": f"{found.activations}: {found.because}",
    }


def _gguf(path: Path) -> Facts:
    """Say what a GGUF file holds; one that cannot be built is shown in its own words."""
    file = read_file(path)
    try:
        return _checkpoint(path)
    except CheckpointError as error:
        return {
            "kind": "checkpoint",
            "path": str(path),
            "container": "gguf",
            "not supported": f"{error} ({error.hint})",
            "metadata": {
                key: value
                for key, value in file.metadata.items()
                if isinstance(value, int | float | str | bool)
            },
            **_tensors(list(file.tensors.values())),
        }


def _safetensors(path: Path) -> Facts:
    return {"kind": "safetensors", "path": str(path), **_tensors(list(read_header(path).values()))}


def _tensors(tensors: list[StoredTensor]) -> Facts:
    """Sum up a list of tensors; uint8 ones beside a scale hold four trits a byte."""
    names = {tensor.name for tensor in tensors}
    weights = {True: 0, False: 0}
    for tensor in tensors:
        packed = tensor.dtype == "U8" and f"{tensor.name}_scale" in names
        lanes = PACKED_LANES if packed else 1
        weights[packed or tensor.dtype in FEW_BITS] += lanes * math.prod(tensor.shape)
    renamed = any(tensor.stored_as for tensor in tensors)
    return {
        "ternary_weights": weights[True],
        "other_weights": weights[False],
        "bytes": sum(tensor.nbytes for tensor in tensors),
        "types": dict(sorted(collections.Counter(tensor.dtype for tensor in tensors).items())),
        "tensors": [
            {
                "name": tensor.name,
                "dtype": tensor.dtype,
                "shape": list(tensor.shape),
                "file": tensor.file.name,
                **({"stored_as": tensor.stored_as} if renamed else {}),
            }
            for tensor in sorted(tensors, key=lambda tensor: tensor.name)
        ],
    }


def _bundle(path: Path) -> Facts:
    bundle = open_bundle(path)
    manifest, held = bundle.manifest, _bitx(path / DATA)
    return {
        "kind": "bundle",
        "path": str(path),
        **{key: manifest[key] for key in ("tool", "target", "layout", "model", "options")},
        "memory": manifest["memory"],
        "checkpoint": manifest["checkpoint"],
        "files": {
            name: (path / name).stat().st_size if (path / name).is_file() else None
            for name in manifest["files"]
        },
        **{key: held[key] for key in ("sections", "matrices")},
    }


def _onnx(path: Path) -> Facts:
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError):
        model = onnx.ModelProto()
    if not model.HasField("graph"):
        raise CheckpointError(f"{path}: not an ONNX file", hint="copy or build it again")
    graph = model.graph
    external = [
        {"name": t.name, **{entry.key: entry.value for entry in t.external_data}}
        for t in graph.initializer
        if t.external_data
    ]
    return {
        "kind": "onnx",
        "path": str(path),
        "ir_version": model.ir_version,
        "opsets": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "producer": model.producer_name,
        "inputs": [_onnx_value(value) for value in graph.input],
        "outputs": [_onnx_value(value) for value in graph.output],
        "ops": dict(sorted(collections.Counter(node.op_type for node in graph.node).items())),
        "functions": sorted(function.name for function in model.functions),
        "external_data": external,
    }


def _onnx_value(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    dims = [d.dim_param or str(d.dim_value) for d in tensor.shape.dim]
    return f"{value.name}: {onnx.TensorProto.DataType.Name(tensor.elem_type)}[{', '.join(dims)}]"


def _bitx(path: Path) -> Facts:
    try:
        bitx = open_bitx(path)
        check_hashes(bitx)
        tested, origin = self_test(bitx), provenance(bitx)
        arithmetic = stored_arithmetic(bitx)
    except (BitxError, OSError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise BundleError(
            f"{path}: {what}", hint="the file is damaged or missing; build or copy it again"
        ) from error
    return {
        "kind": "bitx",
        "path": str(path),
        "minimum_runtime": bitx.min_runtime,
        "facts": dataclasses.asdict(bitx.facts),
        "sections": [
            {"id": s.id, "name": SECTIONS[s.id], "offset": s.offset, "bytes": s.size}
            for s in bitx.sections
        ],
        "ops": dict(sorted(collections.Counter(op.code.name for op in bitx.ops).items())),
        "fused": sum(1 for op in bitx.ops if op.fusion),
        "values": len(bitx.values),
        "self_test": tested and {"prompt": tested.prompt, "generated": tested.generated},
        "provenance": origin,
        "arithmetic": arithmetic and arithmetic.hex(),
        "matrices": _matrices(bitx),
        "layers": _weights(bitx),
    }


def _matrices(bitx: Bitx) -> list[Facts]:
    """Return what each matrix of the graph is, and what it is multiplied with."""
    return [
        {
            "name": matrix.name,
            "shape": list(matrix.shape),
            "numbers": matrix.form,
            "layout": matrix.layout,
            "bits_per_weight": round(matrix.bits_per_weight, 3),
            "scales": matrix.scales,
            "activations": matrix.activations,
        }
        for matrix in matrices(bitx)
    ]


def _weights(bitx: Bitx) -> list[Facts]:
    """Return every matrix with how it is stored: what is in the file, layer by layer."""
    return [
        {
            "name": tensor.name,
            "shape": list(tensor.shape),
            "dtype": tensor.dtype.name.lower(),
            "layout": tensor.layout.name.lower(),
            "bytes": tensor.size,
            "bits_per_weight": round(8 * tensor.size / math.prod(tensor.shape), 3),
        }
        for tensor in bitx.tensors
    ]


def render(facts: Facts) -> str:
    """Return the facts for a person: one line a fact, lists of records as columns."""
    lines = []
    for key, value in facts.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{key}:", *_columns(value)]
        elif isinstance(value, list):
            lines += [f"{key}:", *(f"  {item}" for item in value)]
        elif isinstance(value, dict):
            lines += [f"{key}:", *(f"  {k}: {_short(v)}" for k, v in value.items())]
        else:
            lines.append(f"{key}: {_short(value)}")
    return "\n".join(lines)


def _columns(records: list[Facts]) -> list[str]:
    rows = [[_short(value) for value in record.values()] for record in records]
    table = [list(records[0]), *rows]
    widths = [max(len(row[at]) for row in table) for at in range(len(table[0]))]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
