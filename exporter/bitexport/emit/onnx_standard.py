"""Graphs of standard ops: `portable`, which every runtime of ONNX has, and `ort2bit`.

`portable` is the graph of model.onnx with every op written out, its matrices int8.  In `ort2bit`
the layers of small integers are com.microsoft's MatMulNBits, which quantizes activations its own
way: it computes something near, and says so.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from bitexport.checkpoints.matrix import FLOAT_NAMES, Kind
from bitexport.emit.exactness import Exactness
from bitexport.emit.external_data import FilledTensor, of_array, write_tensors
from bitexport.emit.standard_graph import StandardGraph
from bitexport.models.parts.stored import StoredMatrix, stored_in
from bitexport.ops import DOMAIN, IR_VERSION, ONNX_OPSET, Dim, attributes_of, forms, type_of
from bitexport.passes.plan import ATTENDS

WEIGHT, SCALE = 1, 2
"""Places of a product's weight, and of its scale among the inputs of the op that applies it."""
PRODUCTS = ("TernaryMatMul", "DenseMatMul", "GroupMatMul")
IDS, MASK, POSITIONS, VISIBLE = "input_ids", "attention_mask", "position_ids", "visible"
BATCH, SEQUENCE = "batch_size", "sequence_length"
PAST, TOTAL = "past_sequence_length", "total_sequence_length"
SIZES: Mapping[Dim, Dim] = {"batch": BATCH, "sequence": SEQUENCE, "past": PAST, "total": TOTAL}
VISIBLE_BODY = """
one = Constant<value_ints = [1]>()
start = Constant<value_int = 0>()
step = Constant<value_int = 1>()
zero = Constant<value_ints = [0]>()
between = Constant<value_ints = [1, 2, 3]>()
total = Shape<start = 1, end = 2>(attention_mask)
length = Shape<start = 1, end = 2>(input_ids)
past = Sub(total, length)
past_scalar = Squeeze(past, zero)
total_scalar = Squeeze(total, zero)
row_places = Range(past_scalar, total_scalar, step)
column_places = Range(start, total_scalar, step)
rows = Unsqueeze(row_places, one)
columns = Unsqueeze(column_places, zero)
causal = GreaterOrEqual(rows, columns)
is_token = Cast<to = 9>(attention_mask)
tokens = Unsqueeze(is_token, between)
visible = And(causal, tokens)
"""
"""What each token of a call sees, bool [batch, 1, 1, sequence, total]: tokens before it, and no
padding."""
CODES = frozenset({"q", "high", "low"})
"""What products call activations of one byte."""
RAISED_BODY = """
half = Constant<value = int32 {128}>()
wide = Cast<to = 6>(q)
above = Add(wide, half)
raised = Cast<to = 2>(above)
"""
MICROSOFT = "com.microsoft"
BLOCKS = (16, 32, 64, 128, 256)
"""Columns that may share a scale in MatMulNBits."""
BLOCK = 128
INT8_ACTIVATIONS = 4
"""The accuracy_level by which blocks of activations become int8: without it, a CPU is slow."""
NUMBER_BITS: Mapping[Kind, int] = {Kind.TRITS: 2, Kind.SIGNS: 2, Kind.INT4: 4}


class Flavour(enum.StrEnum):
    """The ways in which one graph is written."""

    PACKED = "packed"
    PORTABLE = "portable"
    ORT2BIT = "ort2bit"


FILES: Mapping[Flavour, str] = {
    Flavour.PACKED: "model.onnx",
    Flavour.PORTABLE: "model_portable.onnx",
    Flavour.ORT2BIT: "model_ort2bit_not_bit_exact.onnx",
}
EXACTNESS: Mapping[Flavour, Exactness] = {
    Flavour.PACKED: Exactness.BIT_EXACT,
    Flavour.PORTABLE: Exactness.INTEGER_CORE,
    Flavour.ORT2BIT: Exactness.NEAR,
}


def data_file(flavour: Flavour) -> str:
    """Return the name of the file with the weights, as transformers.js and optimum call it."""
    return f"{FILES[flavour]}_data"


def write_standard(
    model: ir.Model, folder: Path, flavour: Flavour, facts: Mapping[str, str]
) -> onnx.ModelProto:
    """Save graph and data into a folder, checked; the model has its layouts chosen."""
    graph = TwoBit(model) if flavour is Flavour.ORT2BIT else Portable(model)
    graph.build()
    proto = graph.proto(folder / data_file(flavour))
    for key, text in sorted(facts.items()):
        proto.metadata_props.add(key=key, value=text)
    path = folder / FILES[flavour]
    path.write_bytes(proto.SerializeToString(deterministic=True))
    onnx.checker.check_model(path, full_check=flavour is Flavour.PORTABLE)
    return proto


class Portable:
    """The graph under construction."""

    def __init__(self, model: ir.Model) -> None:
        self.source = model.graph
        self.graph = StandardGraph()
        self.tensors: dict[str, FilledTensor] = {}
        self.raised_codes: set[str] = set()
        self.typed: list[onnx.ValueInfoProto] = []
        """Values whose types shape inference cannot know."""
        self.turned = {
            str(value.name)
            for node in self.source
            if node.op_type.startswith(PRODUCTS) and (value := node.inputs[WEIGHT]) is not None
        }
        self.has_positions = any(node.op_type in ATTENDS for node in self.source)

    def build(self) -> None:
        """Write out every node."""
        if self.has_positions:
            given = {IDS: IDS, MASK: MASK}
            self.graph.write_out("Attend", VISIBLE_BODY, given, {VISIBLE: VISIBLE}, {}, {})
        for node in self.source:
            if (node.domain, node.op_type) in forms():
                self.write(node)

    def write(self, node: ir.Node) -> None:
        """Write out one node of ours."""
        op_type = logical_type(node)
        op, form = forms()[node.domain, op_type]
        inputs = dict(zip(form.inputs, map(self.operand, node.inputs), strict=True))
        outputs = dict(zip(form.outputs, (str(v.name) for v in node.outputs), strict=True))
        if node.domain != DOMAIN and not form.portable:
            (output,) = outputs.values()
            self.graph.node(op_type, list(inputs.values()), output, op_type)
            return
        if op_type.startswith(PRODUCTS):
            for name in sorted(inputs.keys() & CODES):
                inputs[name] = self.raised(inputs[name], op.name)
        if op.name == "Rope":
            inputs[POSITIONS] = POSITIONS
        if op.name in ATTENDS:
            inputs[VISIBLE] = VISIBLE
        is_turned = op.name not in ("Embed", "GroupEmbed") or inputs["table"] in self.turned
        body = (form.portable if is_turned else "") or form.body
        shapes = {
            str(value.name): type_of(value).shape
            for value in node.inputs
            if value is not None and str(value.name) not in self.source.initializers
        }
        self.graph.write_out(op.name, body, inputs, outputs, attributes_of(node), shapes)

    def raised(self, codes: str, op: str) -> str:
        """Return activations of one byte as uint8, 128 above: these are multiplied fast."""
        output = f"{codes}.raised"
        if output not in self.raised_codes:
            self.raised_codes.add(output)
            self.graph.write_out(op, RAISED_BODY, {"q": codes}, {"raised": output}, {}, {})
        return output

    def operand(self, value: ir.Value | None) -> str:
        """Return the name of a value; an initializer becomes a tensor of this graph."""
        assert value is not None
        name = str(value.name)
        if name in self.source.initializers and name not in self.tensors:
            stored = stored_in(value)
            self.tensors[name] = (
                turned(name, stored, group_of(value)) if name in self.turned
                else plain(name, stored)
            )  # fmt: skip
        return name

    def proto(self, data: Path) -> onnx.ModelProto:
        """Return the graph, every value typed, and write its data."""
        constants = [of_array(name, value) for name, value in self.graph.constants.items()]
        nodes = live_nodes(self.graph.nodes, {str(value.name) for value in self.source.outputs})
        used = {name for node in nodes for name in node.input}
        tensors = [each for each in (*self.tensors.values(), *constants) if each.name in used]
        graph = onnx.GraphProto(
            name=str(self.source.name), node=nodes, input=self.inputs(), value_info=self.typed,
            output=map(value_info, self.source.outputs), initializer=write_tensors(tensors, data),
        )  # fmt: skip
        domains = sorted({node.domain for node in nodes})
        proto = onnx.helper.make_model(
            graph, ir_version=IR_VERSION, producer_name="bitexport",
            opset_imports=[
                onnx.helper.make_opsetid(domain, 1 if domain else ONNX_OPSET) for domain in domains
            ],
        )  # fmt: skip
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)

    def inputs(self) -> Iterator[onnx.ValueInfoProto]:
        """Yield what the graph takes: as decoders do, a mask and positions behind the tokens."""
        for value in self.source.inputs:
            yield value_info(value)
            if value.name == IDS and self.has_positions:
                kind = onnx.TensorProto.INT64
                yield onnx.helper.make_tensor_value_info(MASK, kind, [BATCH, TOTAL])
                yield onnx.helper.make_tensor_value_info(POSITIONS, kind, [BATCH, SEQUENCE])


class TwoBit(Portable):
    """The same with MatMulNBits in place of layers whose weights have few bits."""

    def write(self, node: ir.Node) -> None:
        """Write out one node; a layer is written where its last op stands."""
        op_type = logical_type(node)
        if op_type == "TernaryMatMul":
            return
        product = maker(node, 0) if op_type.startswith("Rescale") else None
        if product is not None and logical_type(product) == "TernaryMatMul":
            self.layer(node, product)
        elif op_type.startswith("GroupMatMul") and group_of(read(node, WEIGHT)) in BLOCKS:
            self.layer(node, node)
        else:
            super().write(node)

    def layer(self, last: ir.Node, product: ir.Node) -> None:
        """Write a layer from the floats that its activations were quantized of."""
        quantizer, weight, scale = maker(product, 0), read(product, WEIGHT), read(last, SCALE)
        (made,) = last.outputs
        stored, output = stored_in(weight), str(made.name)
        n, k = stored.matrix.rows, stored.matrix.columns
        block, bits = group_of(weight) or BLOCK, NUMBER_BITS[stored.matrix.kind]
        codes, scales = f"{weight.name}.codes", f"{weight.name}.scales"
        self.tensors[codes] = number_codes(codes, stored, block)
        self.tensors[scales] = block_scales(scales, stored_in(scale), n, -(-k // block))
        self.graph.node(
            "MatMulNBits", [str(read(quantizer, 0).name), codes, scales], output,
            logical_type(product), MICROSOFT,
            K=k, N=n, bits=bits, block_size=block, accuracy_level=INT8_ACTIVATIONS,
        )  # fmt: skip
        self.typed.append(value_info(made))


def live_nodes(nodes: list[onnx.NodeProto], outputs: set[str]) -> list[onnx.NodeProto]:
    """Return the nodes that an output depends on, in their order."""
    needed, live = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            live.append(node)
    return live[::-1]


def read(node: ir.Node, place: int) -> ir.Value:
    """Return an input."""
    value = node.inputs[place]
    assert value is not None, f"{node.name} lacks an input"
    return value


def maker(node: ir.Node, place: int) -> ir.Node:
    """Return the node that makes an input."""
    made_by = read(node, place).producer()
    assert made_by is not None, f"{node.name} reads what no node makes"
    return made_by


def logical_type(node: ir.Node) -> str:
    """Return the op type of a node before its weights had a layout."""
    if len(node.inputs) > WEIGHT and (value := node.inputs[WEIGHT]) is not None:
        stored = value.meta.get("stored")
        if isinstance(stored, StoredMatrix) and stored.packing:
            return node.op_type.removesuffix(stored.packing.SUFFIX)
    return node.op_type


def group_of(weight: ir.Value) -> int:
    """Return how many columns of a matrix share a scale, 0 for all."""
    found = [node.attributes["group"].value for node, _ in weight.uses()
             if "group" in node.attributes]  # fmt: skip
    return int(found[0]) if found else 0


def plain(name: str, stored: StoredMatrix) -> FilledTensor:
    """Return a matrix as rows, one after the other."""
    matrix = stored.matrix

    def fill(out: NDArray[Any]) -> None:
        rows = out.reshape(matrix.rows, matrix.columns)
        for start, block in matrix.blocks():
            rows[start : start + len(block)] = block

    dtype = unpacked_dtype(stored)
    return FilledTensor(name=name, dtype=dtype, shape=stored.logical_shape, fill=fill)


def turned(name: str, stored: StoredMatrix, group: int) -> FilledTensor:
    """Return a matrix [n, k] as products take it: [k, n], or [groups, columns of one, n].

    int8 is raised by 128: two products of such bytes fit where an x86 without VNNI adds them up,
    and with signed ones they would be cut off.  Floats are widened: a runtime would do it anew for
    every token.
    """
    matrix = stored.matrix
    n, k = matrix.rows, matrix.columns
    shape = (-(-k // group), group, n) if group else (k, n)
    raised = matrix.kind is Kind.INT8

    def fill(out: NDArray[Any]) -> None:
        columns = out.reshape(-1, n)[:k]
        for start, rows in matrix.blocks():
            block = rows.view(np.uint8) ^ np.uint8(128) if raised else rows
            if matrix.kind in FLOAT_NAMES:
                block = matrix.widened(rows)
            columns[:, start : start + len(rows)] = block.T

    dtype = onnx.TensorProto.UINT8 if raised else onnx.TensorProto.INT8
    if matrix.kind in FLOAT_NAMES:
        dtype = onnx.TensorProto.FLOAT
    return FilledTensor(name=name, dtype=dtype, shape=shape, fill=fill)


def number_codes(name: str, stored: StoredMatrix, block: int) -> FilledTensor:
    """Return a matrix [n, k] as MatMulNBits takes it, uint8 [n, blocks, bytes of one].

    A code is the number plus half of the codes; the first column lies in the lowest bits.
    """
    matrix, bits = stored.matrix, NUMBER_BITS[stored.matrix.kind]
    blocks, each = -(-matrix.columns // block), 8 // bits
    half, shifts = 1 << bits - 1, np.arange(0, 8, bits, dtype=np.uint8)

    def fill(out: NDArray[Any]) -> None:
        for start, rows in matrix.blocks():
            codes = np.full((len(rows), blocks * block), half, np.uint8)
            codes[:, : matrix.columns] = (rows.astype(np.int8) + half).view(np.uint8)
            packed = np.bitwise_or.reduce(codes.reshape(len(rows), -1, each) << shifts, axis=2)
            out[start : start + len(rows)] = packed.reshape(len(rows), blocks, -1)

    shape = (matrix.rows, blocks, block // each)
    return FilledTensor(name=name, dtype=onnx.TensorProto.UINT8, shape=shape, fill=fill)


def block_scales(name: str, stored: StoredMatrix, n: int, blocks: int) -> FilledTensor:
    """Return scales [groups or 1, n or 1] for each row and block, float32 [n, blocks]."""
    matrix = stored.matrix

    def fill(out: NDArray[Any]) -> None:
        scales = matrix.floats(0, matrix.rows)
        out[...] = scales.T if len(stored.logical_shape) > 1 else scales.reshape(-1, 1)

    return FilledTensor(
        name=name, dtype=onnx.TensorProto.FLOAT, shape=(n, blocks), fill=fill
    )  # fmt: skip


def unpacked_dtype(stored: StoredMatrix) -> int:
    """Return the dtype of a matrix without a layout."""
    return int(StoredMatrix(stored.matrix, stored.logical_shape).dtype)


def value_info(value: ir.Value) -> onnx.ValueInfoProto:
    """Return name, dtype and shape of a value; sizes have the names that runtimes look for."""
    kind = type_of(value)
    shape = [SIZES.get(dim, dim) for dim in kind.shape]
    return onnx.helper.make_tensor_value_info(str(value.name), int(kind.dtype), shape)
