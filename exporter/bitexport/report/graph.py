"""The graph of a checkpoint, a bundle, a .bitx or an ONNX file: what inspect --graph draws."""

from __future__ import annotations

import dataclasses
import functools
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx

from bitexport.checkpoints.checkpoint import Checkpoint, open_checkpoint
from bitexport.emit.manifest import DATA, MANIFEST, open_bundle
from bitexport.errors import BitexportError
from bitexport.models import build_model
from bitexport.models.parts.facts import Facts as ModelFacts
from bitexport.models.parts.options import Options
from bitexport.models.parts.stored import StoredMatrix, stored_matrices
from bitexport.ops import DOMAIN, Op, all_ops, register_schemas
from bitexport.passes.choose_layouts import suited_layout
from bitexport.passes.pipeline import lower
from bitexport.passes.plan import DTYPES, Plan
from bitexport.report.inspect import load_bitx, load_onnx
from bitexport.report.matrices import tensor_kinds
from bitexport.targets import find_target
from bitexport_ref import bitx_records as records
from bitexport_ref.bitx import Bitx

GIVE = "give a checkpoint, a bundle, or a .bitx or .onnx file"
USUAL_TARGET = "arm64"
SHORT_TEXT = 24
ROWS, KEPT_ROWS, CONTEXT = "rows", "kept rows", "context"
PACKED_SUFFIXES = tuple(layout.name for layout in records.Layout if layout.value)
NODE_KINDS: Mapping[str, str] = {
    "TernaryMatMulB1R": "binary", "TernaryMatMul": "ternary", "GroupMatMul": "ternary",
    "DenseMatMul": "float", "Embed": "embedding", "GroupEmbed": "embedding", "RmsNorm": "norms",
    "Rope": "tables", "Rescale": "scales",
}  # fmt: skip
"""What the weights of our own ops are to a reader, by how the op type begins."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weight:
    """A tensor that a node reads."""

    name: str
    kind: str
    """ternary, binary, int4, int8, float, embedding, head, norms, biases, tables or scales."""
    shape: tuple[int, ...]
    stored: str
    """The layout, or the dtype where it is plain."""
    bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Value:
    """What flows between nodes; the shape is empty where the file does not say it."""

    name: str
    dtype: str = ""
    shape: tuple[int | str, ...] = ()

    @property
    def type(self) -> str:
        """Dtype and shape as text, `f32 [rows, 256]`."""
        shape = f"[{', '.join(map(str, self.shape))}]" if self.shape else ""
        return f"{self.dtype} {shape}".strip()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Node:
    """One op.  Nodes with the same step run as one."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[Value, ...]
    weights: tuple[Weight, ...] = ()
    attributes: tuple[str, ...] = ()
    step: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Graph:
    """Nodes in an order in which they can run; a state is written in place, under its own name."""

    name: str
    about: str
    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    states: tuple[Value, ...]
    outputs: tuple[str, ...]

    @functools.cached_property
    def sources(self) -> tuple[tuple[int | None, ...], ...]:
        """For each input of each node, the node that wrote it last; None: the caller gives it."""
        made: dict[str, int] = {}
        found = []
        for at, node in enumerate(self.nodes):
            found.append(tuple(made.get(name) for name in node.inputs))
            made |= {value.name: at for value in node.outputs}
        return tuple(found)

    @property
    def steps(self) -> int:
        """How many there are, fused ones counted once."""
        return len({node.step for node in self.nodes})

    @property
    def weights(self) -> Mapping[str, Weight]:
        """Every tensor once, by name, as the first node that reads it has it."""
        found: dict[str, Weight] = {}
        for node in self.nodes:
            for weight in node.weights:
                found.setdefault(weight.name, weight)
        return found


def read_graph(path: Path) -> Graph:
    """Return the graph of what lies at a path."""
    if not path.exists():
        raise BitexportError(f"{path}: no such file or folder", hint=GIVE)
    if path.is_dir() and (path / MANIFEST).is_file():
        bundle = open_bundle(path)
        about = f"built for {bundle.target_name}, ternary layout {bundle.manifest['layout']}"
        return graph_of_plan(load_bitx(path / DATA), about)
    if path.suffix == ".bitx":
        return graph_of_plan(load_bitx(path), "the plan of a .bitx file")
    if path.suffix == ".onnx":
        return graph_of_onnx(load_onnx(path), path.name)
    if path.suffix == ".safetensors":
        raise BitexportError(f"{path}: holds tensors but no graph", hint=f"{GIVE}, or its folder")
    return graph_of_checkpoint(open_checkpoint(path))


# ---- a checkpoint ----------------------------------------------------------------------------


def graph_of_checkpoint(checkpoint: Checkpoint) -> Graph:
    """Return the plan that a build for arm64 without options makes; no weight is read for it."""
    model, facts = build_model(checkpoint, Options())
    layout = suited_layout(model, find_target(USUAL_TARGET).layout)
    plan = lower(model, layout)
    bitx = _as_read_back(plan, stored_matrices(model), facts)
    return graph_of_plan(
        bitx, f"as `build --target {USUAL_TARGET}` lowers it, ternary layout {layout}"
    )


def _as_read_back(plan: Plan, stored: Mapping[str, StoredMatrix], facts: ModelFacts) -> Bitx:
    """Return a plan in the terms of a file, which has no bytes."""
    tensors = tuple(
        records.Tensor(
            name, records.Dtype(DTYPES[held.dtype]), records.Layout(held.layout_id),
            held.logical_shape, 0, held.nbytes,
        )
        for name in plan.tensors
        for held in (stored[name],)
    )  # fmt: skip
    values = tuple(
        records.Value(
            value.name, records.Dtype(value.dtype), records.RowKind(value.row_kind), value.rows,
            value.columns, records.Role(value.role), value.slot, value.fused_slot,
        )
        for value in plan.values
    )  # fmt: skip
    value_kind, tensor_kind = records.OperandKind.VALUE, records.OperandKind.TENSOR
    ops = tuple(
        records.Op(
            records.OpCode(op.op.code),
            tuple(
                records.Operand(tensor_kind if operand.is_tensor else value_kind, operand.index)
                for operand in op.inputs
            ),
            tuple(records.Operand(value_kind, at) for at in op.outputs),
            op.fusion, op.fusion_count, _four(op.attributes),
        )
        for op in plan.ops
    )  # fmt: skip
    about = records.Facts(
        plan.is_language_model, facts.vocabulary, facts.context, facts.hidden, facts.layers,
        facts.heads, facts.kv_heads, facts.head_size, facts.bos, facts.eos, facts.name,
        facts.family, None, None,
    )  # fmt: skip
    return Bitx(b"", 0, (), about, tensors, values, ops)


def _four(words: tuple[int, ...]) -> tuple[int, int, int, int]:
    first, second, third, fourth = words
    return first, second, third, fourth


# ---- a plan ----------------------------------------------------------------------------------


def graph_of_plan(bitx: Bitx, about: str) -> Graph:
    """Return the graph of a .bitx file's plan; what fusions run as one has one step."""
    kinds = tensor_kinds(bitx)
    weights = [_plan_weight(tensor, kinds.get(at, "other"))
               for at, tensor in enumerate(bitx.tensors)]  # fmt: skip
    values = [_plan_value(value) for value in bitx.values]
    by_code = {op.code: op for op in all_ops().values()}
    nodes: list[Node] = []
    step, last = -1, 0
    for at, op in enumerate(bitx.ops):
        if at >= last:
            step, last = step + 1, at + max(1, op.covers)
        read = [operand.index for operand in op.inputs if operand.kind is records.OperandKind.VALUE]
        held = [operand.index for operand in op.inputs if operand.kind is not
                records.OperandKind.VALUE]  # fmt: skip
        known = by_code[op.code]
        nodes.append(
            Node(
                op=known.name,
                inputs=tuple(values[index].name for index in read),
                outputs=tuple(values[operand.index] for operand in op.outputs),
                weights=tuple(weights[index] for index in held),
                attributes=_plan_attributes(known, op.attributes),
                step=step,
            )
        )
    family = f"family {bitx.facts.family}, " if bitx.facts.family else ""
    return Graph(
        name=bitx.facts.name, about=f"{family}{about}", nodes=tuple(nodes),
        inputs=_of_role(bitx, values, records.Role.INPUT),
        states=_of_role(bitx, values, records.Role.STATE),
        outputs=tuple(value.name for value in _of_role(bitx, values, records.Role.OUTPUT)),
    )  # fmt: skip


def _of_role(bitx: Bitx, values: list[Value], role: records.Role) -> tuple[Value, ...]:
    return tuple(
        value for value, record in zip(values, bitx.values, strict=True) if record.role is role
    )


def _plan_weight(tensor: records.Tensor, kind: str) -> Weight:
    plain = tensor.layout is records.Layout.PLAIN
    return Weight(
        name=tensor.name, kind=kind, shape=tensor.shape, bytes=tensor.size,
        stored=(tensor.dtype if plain else tensor.layout).name.lower(),
    )  # fmt: skip


def _plan_value(value: records.Value) -> Value:
    rows: Mapping[records.RowKind, int | str] = {
        records.RowKind.FIXED: value.rows,
        records.RowKind.CALL: ROWS,
        records.RowKind.KEPT: KEPT_ROWS,
        records.RowKind.CONTEXT: CONTEXT,
    }
    shape = (rows[value.row_kind], value.columns)
    return Value(name=value.name, dtype=value.dtype.name.lower(), shape=shape)


def _plan_attributes(op: Op, words: tuple[int, ...]) -> tuple[str, ...]:
    """Return attributes as text; the words are the bits of floats and of signed integers."""
    said = []
    for (name, kind), word in zip(op.plan_attributes.items(), words, strict=False):
        form = "<f" if kind is float else "<i"
        (number,) = struct.unpack(form, struct.pack("<I", word))
        said.append(f"{name} {number:.6g}" if kind is float else f"{name} {number}")
    return tuple(said)


# ---- ONNX ------------------------------------------------------------------------------------


def graph_of_onnx(model: onnx.ModelProto, name: str) -> Graph:
    """Return the graph of any ONNX model; shapes that it does not say are inferred if they can."""
    model = _with_shapes(model)
    graph = model.graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    types = {info.name: _onnx_value(info)
             for info in (*graph.input, *graph.value_info, *graph.output)}  # fmt: skip
    nodes = tuple(
        Node(
            op=node.op_type,
            inputs=tuple(each for each in node.input if each and each not in held),
            outputs=tuple(types.get(each) or Value(name=each) for each in node.output if each),
            weights=tuple(_onnx_weight(node, held[each]) for each in node.input if each in held),
            attributes=tuple(
                _onnx_attribute(each)
                for each in node.attribute
                if node.domain != DOMAIN or each.name not in ("n", "k")
            ),
            step=step,
        )
        for step, node in enumerate(graph.node)
    )
    opsets = ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}"
                       for entry in model.opset_import)  # fmt: skip
    return Graph(
        name=graph.name or name,
        about=f"ONNX, IR {model.ir_version}, opsets {opsets}",
        nodes=nodes,
        inputs=tuple(types[value.name] for value in graph.input if value.name not in held),
        states=(),
        outputs=tuple(value.name for value in graph.output),
    )


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    said = {info.name for info in (*model.graph.value_info, *model.graph.output)}
    if all(name in said for node in model.graph.node for name in node.output):
        return model
    register_schemas()
    try:
        return onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, ValueError):  # the file's own are drawn
        return model


def _onnx_value(info: onnx.ValueInfoProto) -> Value:
    tensor = info.type.tensor_type
    dims = tuple(
        dim.dim_param or (dim.dim_value if dim.HasField("dim_value") else "?")
        for dim in tensor.shape.dim
    )
    return Value(name=info.name, dtype=dtype_name(tensor.elem_type), shape=dims)


def _onnx_weight(node: onnx.NodeProto, tensor: onnx.TensorProto) -> Weight:
    size = {entry.key: entry.value for entry in tensor.external_data}.get("length", "")
    bits = BITS.get(tensor.data_type, 0)
    shape, stored = tuple(tensor.dims), dtype_name(tensor.data_type)
    ints = {attribute.name: attribute.i for attribute in node.attribute}
    if node.domain == DOMAIN and stored == "u8" and {"n", "k"} <= ints.keys():
        suffix = next((s for s in PACKED_SUFFIXES if s in node.op_type), "")
        shape, stored = (ints["n"], ints["k"]), suffix.lower() or stored
    return Weight(
        name=tensor.name, kind=_onnx_kind(node, stored, shape), shape=shape, stored=stored,
        bytes=int(size) if size.isdigit() else -(-math.prod(tensor.dims) * bits // 8),
    )  # fmt: skip


def _onnx_kind(node: onnx.NodeProto, stored: str, shape: tuple[int, ...]) -> str:
    if node.domain == DOMAIN:
        kind = next((k for op, k in NODE_KINDS.items() if node.op_type.startswith(op)), "other")
        return "int8" if kind == "float" and stored == "s8" else kind
    if len(shape) < 2:  # noqa: PLR2004 - a vector
        return "biases"
    return {"s8": "int8", "u8": "int8", "s4": "int4", "u4": "int4"}.get(stored, "float")


def _onnx_attribute(attribute: onnx.AttributeProto) -> str:
    value: Any = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto | onnx.GraphProto | onnx.SparseTensorProto):
        value = f"a {type(value).__name__.removesuffix('Proto').lower()}"
    if isinstance(value, float):
        value = f"{value:.6g}"
    text = f"[{', '.join(map(str, value))}]" if isinstance(value, Iterable) and not isinstance(
        value, str
    ) else str(value)  # fmt: skip
    return f"{attribute.name} {text if len(text) <= SHORT_TEXT else text[:SHORT_TEXT] + '…'}"


NAMES: Mapping[str, str] = {
    "FLOAT": "f32", "DOUBLE": "f64", "FLOAT16": "f16", "BFLOAT16": "bf16", "INT8": "s8",
    "UINT8": "u8", "INT16": "s16", "UINT16": "u16", "INT32": "s32", "UINT32": "u32",
    "INT64": "s64", "UINT64": "u64", "INT4": "s4", "UINT4": "u4", "INT2": "s2", "UINT2": "u2",
    "UNDEFINED": "",
}  # fmt: skip
BITS: Mapping[int, int] = {
    number: int(NAMES[name].lstrip("bfsu"))
    for name, number in onnx.TensorProto.DataType.items()
    if NAMES.get(name)
}


def dtype_name(number: int) -> str:
    """Return a dtype of ONNX as plans call it."""
    name = onnx.TensorProto.DataType.Name(number)
    return NAMES.get(name, name.lower())
