"""A graph under construction: initializers and nodes, with names that read like the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.models.parts.options import Embedding
from bitexport.models.parts.q8 import quantized
from bitexport.models.parts.stored import StoredMatrix, attach
from bitexport.ops import DOMAIN, DOMAIN_VERSION, IR_VERSION, ONNX_OPSET, Type, apply, typed_value


class GraphBuilder:
    """Adds nodes in the order they run."""

    def __init__(self, name: str, inputs: Sequence[tuple[str, Type]]) -> None:
        values = [typed_value(input_name, kind) for input_name, kind in inputs]
        imports = {"": ONNX_OPSET, DOMAIN: DOMAIN_VERSION}
        self.graph = ir.Graph(values, [], nodes=[], name=name, opset_imports=imports)

    def input(self, name: str) -> ir.Value:
        """Return a graph input by name."""
        return next(value for value in self.graph.inputs if value.name == name)

    def weight(self, name: str, matrix: Matrix, shape: tuple[int, ...]) -> ir.Value:
        """Add an initializer; its bytes stay in the checkpoint until the file is written."""
        value = ir.Value(name=name)
        attach(value, StoredMatrix(matrix, shape))
        self.graph.register_initializer(value)
        return value

    def op(
        self, op_type: str, inputs: Sequence[ir.Value], output: str, **attributes: float
    ) -> ir.Value:
        """Add a node with one output."""
        return apply(self.graph, op_type, inputs, [output], **attributes)[0]

    def quantize(self, x: ir.Value, name: str) -> tuple[ir.Value, ir.Value]:
        """Return int8 activations and their scales."""
        q, scale = apply(self.graph, "QuantizeRows", [x], [f"{name}.q", f"{name}.q_scale"])
        return q, scale

    def ternary_linear(
        self, x: tuple[ir.Value, ir.Value], trits: Matrix, scale: Matrix, name: str
    ) -> ir.Value:
        """Return W x for quantized x; W is the matrix of trits times its scale."""
        q, q_scale = x
        n, k = trits.rows, trits.columns
        weight = self.weight(f"{name}.weight", trits, (n, k))
        factor = self.weight(f"{name}.weight_scale", scale, (scale.rows,))
        total = self.op("TernaryMatMul", [q, weight], f"{name}.sum", n=n, k=k)
        return self.op("Rescale", [total, q_scale, factor], f"{name}.output")

    def shape_of_axis(self, value: ir.Value, axis: int, output: str) -> ir.Value:
        """Add the standard Shape node that gives one dimension as int64 [1]."""
        made = typed_value(output, Type(ir.DataType.INT64, (1,)))
        attributes = [ir.AttrInt64("start", axis), ir.AttrInt64("end", axis + 1)]
        self.graph.append(ir.Node("", "Shape", [value], attributes, outputs=[made], name=output))
        return made

    def finish(self, outputs: Sequence[ir.Value]) -> ir.Model:
        """Close the graph."""
        self.graph.outputs.extend(outputs)
        return ir.Model(self.graph, ir_version=IR_VERSION, producer_name="bitexport")


class EmbeddingTable:
    """A table that embeds tokens and, when tied, makes the logits."""

    def __init__(self, builder: GraphBuilder, name: str, matrix: Matrix, form: Embedding) -> None:
        self.builder, self.form = builder, form
        shape = (matrix.rows, matrix.columns)
        if form == "q8":
            values, scales = quantized(matrix)
            self.table = builder.weight(name, values, shape)
            self.scales = builder.weight(f"{name}.scale", scales, (matrix.rows,))
        else:
            self.table = builder.weight(name, as_kind(matrix, form), shape)

    def embed(self, ids: ir.Value, output: str) -> ir.Value:
        """Return one row per token."""
        if self.form == "q8":
            return self.builder.op("EmbedQ8", [ids, self.table, self.scales], output)
        op_type = "EmbedF32" if self.form == "f32" else "EmbedBf16"
        return self.builder.op(op_type, [ids, self.table], output)

    def logits(self, x: ir.Value, output: str) -> ir.Value:
        """Return x times the transposed table."""
        if self.form == "q8":
            q, scale = self.builder.quantize(x, "head")
            total = self.builder.op("DenseMatMulQ8", [q, self.table], "head.sum")
            return self.builder.op("Rescale", [total, scale, self.scales], output)
        op_type = "DenseMatMulF32" if self.form == "f32" else "DenseMatMulBf16"
        return self.builder.op(op_type, [x, self.table], output)


def as_kind(matrix: Matrix, form: Embedding) -> Matrix:
    """Return a float matrix as float32 or bfloat16; bfloat16 only when no bit is lost."""
    if form == "f32":
        return Matrix(matrix.name, Kind.FLOAT, matrix.rows, matrix.columns, matrix.floats)
    assert matrix.kind is Kind.BFLOAT16, "the family checks that bf16 loses nothing"
    return matrix
