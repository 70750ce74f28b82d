"""A graph under construction: initializers and nodes, with names that read like the checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from bitexport.checkpoints.matrix import FLOAT_NAMES, Kind, Matrix
from bitexport.checkpoints.weights import Weights
from bitexport.errors import CheckpointError
from bitexport.models.parts.options import ActivationKind
from bitexport.models.parts.stored import StoredMatrix, attach, widened
from bitexport.ops import DOMAIN, DOMAIN_VERSION, IR_VERSION, ONNX_OPSET, Type, apply, typed_value

GROUP = 128
"""Columns that share a scale of activations where the weights do not say how many."""
SMALLEST_GROUP, LARGEST_GROUP, GROUP_STEP = 16, 4096, 16


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
        self, op_type: str, inputs: Sequence[ir.Value], output: str, **attributes: Any
    ) -> ir.Value:
        """Add a node with one output."""
        return apply(self.graph, op_type, inputs, [output], **attributes)[0]

    def norm(
        self, x: ir.Value, weight: Matrix, name: str, *, epsilon: float, heads: int = 1
    ) -> ir.Value:
        """Return x with each head normalised by itself; weight is a vector of one head's size."""
        vector = self.weight(f"{name}.weight", widened(weight), (weight.rows * weight.columns,))
        return self.op("RmsNorm", [x, vector], f"{name}.output", epsilon=epsilon, heads=heads)

    def linear(
        self, x: Activations, weights: Weights, name: str, *, activations: ActivationKind,
        output: str | None = None,
    ) -> ir.Value:  # fmt: skip
        """Return W x [..., n]; floats multiply the floats of x, integers what x is quantized to."""
        grouped = weights.values.kind in (Kind.TRITS, Kind.SIGNS) and activations == "int8-group"
        layer = Layer(self, weights, name, grouped=grouped)
        return layer.product(x, name, output or f"{name}.output", activations)

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


@dataclasses.dataclass(frozen=True)
class Quantized:
    """Activations as integers: q, or 256 q + low; each times 1 / scale."""

    q: ir.Value
    scale: ir.Value
    low: ir.Value | None = None


class Activations:
    """A float value that layers read; quantized when the first of them asks, once for each kind."""

    def __init__(self, builder: GraphBuilder, value: ir.Value, name: str) -> None:
        self.builder, self.value, self.name = builder, value, name
        self._made: dict[tuple[ActivationKind, int], Quantized] = {}

    def quantized(self, kind: ActivationKind, group: int = 0) -> Quantized:
        """Return the value as integers; group counts for kind int8-group alone."""
        key = (kind, group if kind == "int8-group" else 0)
        if key not in self._made:
            self._made[key] = self._quantize(*key)
        return self._made[key]

    def _quantize(self, kind: ActivationKind, group: int) -> Quantized:
        graph, x, name = self.builder.graph, [self.value], self.name
        if kind == "int16":
            names = [f"{name}.q16_high", f"{name}.q16_low", f"{name}.q16_scale"]
            high, low, scale = apply(graph, "QuantizeRowsInt16", x, names)
            return Quantized(high, scale, low)
        if kind == "int8-group":
            q = f"{name}.q_group{group}"
            return Quantized(*apply(graph, "QuantizeGroups", x, [q, f"{q}_scale"], group=group))
        op_type, q = {
            "int8": ("QuantizeRows", f"{name}.q"),
            "int4": ("QuantizeRowsInt4", f"{name}.q4"),
        }[kind]
        return Quantized(*apply(graph, op_type, x, [q, f"{q}_scale"]))


class Layer:
    """The initializers of one weight matrix; several products may read them."""

    def __init__(
        self, builder: GraphBuilder, weights: Weights, name: str, *, grouped: bool = False
    ) -> None:
        self.builder, self.name, self.kind = builder, name, weights.values.kind
        self.n, self.k = weights.values.rows, weights.values.columns
        by_group = grouped or weights.group or self.kind is Kind.INT4
        self.group = (weights.group or GROUP) if by_group else 0
        self.weight = builder.weight(f"{name}.weight", weights.values, (self.n, self.k))
        self.scale: ir.Value | None = None
        if weights.scale is not None:
            self._check(weights.scale)
            stored = weights.scale if by_group else widened(weights.scale)
            shape = (stored.rows, stored.columns) if by_group else (stored.columns,)
            self.scale = builder.weight(f"{name}.weight_scale", stored, shape)

    def product(
        self, x: Activations, name: str, output: str, activations: ActivationKind
    ) -> ir.Value:
        """Return W x, with the integers that it takes of x."""
        op = self.builder.op
        if self.scale is None:
            return op(f"DenseMatMul{FLOAT_NAMES[self.kind].suffix}", [x.value, self.weight], output)
        if self.group:
            return self._group_product(x, output, activations)
        if activations == "int8-group":
            raise CheckpointError(
                f"`{self.name}` is {self.kind.value} with one scale a row; its activations have "
                "no groups",
                hint="choose activations int8 or int16 for this layer, or another precision",
            )
        given = x.quantized(activations)
        sums = [
            self._sums(q, f"{name}.{called}")
            for q, called in ((given.q, "sum"), (given.low, "low_sum"))
            if q is not None
        ]
        total, *low = sums
        op_type = "RescaleInt16" if low else "Rescale"
        return op(op_type, [total, given.scale, self.scale, *low], output)

    def _sums(self, q: ir.Value, output: str) -> ir.Value:
        op = self.builder.op
        if self.kind is Kind.INT8:
            return op("DenseMatMulQ8", [q, self.weight], output)
        return op("TernaryMatMul", [q, self.weight], output, n=self.n, k=self.k)

    def _group_product(self, x: Activations, output: str, activations: ActivationKind) -> ir.Value:
        assert self.scale is not None
        given = x.quantized(activations, self.group)
        inputs = [given.q, self.weight, self.scale, given.scale]
        if given.low is not None:
            inputs.append(given.low)
        return self.builder.op(
            f"GroupMatMul{'' if given.low is None else 'Int16'}", inputs, output,
            n=self.n, k=self.k, group=self.group,
        )  # fmt: skip

    def _check(self, scale: Matrix) -> None:
        group = self.group
        if group and (group % GROUP_STEP or not SMALLEST_GROUP <= group <= LARGEST_GROUP):
            raise CheckpointError(
                f"`{self.name}` has a scale for every {group} columns; groups are a multiple of "
                f"{GROUP_STEP}, from {SMALLEST_GROUP} to {LARGEST_GROUP}",
                hint="such a layer cannot be exported",
            )
        assert group or self.kind is not Kind.INT4
        assert not (group and self.kind is Kind.INT8), "int8 has one scale a row"
        assert scale.rows in (1, -(-self.k // group) if group else 1), self.name
        assert scale.columns in (1, self.n), self.name


class EmbeddingTable:
    """A table that embeds tokens and, when tied, makes the logits."""

    def __init__(self, builder: GraphBuilder, weights: Weights, name: str) -> None:
        low_bit = weights.values.kind in (Kind.TRITS, Kind.SIGNS, Kind.INT4)
        self.builder = builder
        self.layer = Layer(builder, weights, name, grouped=low_bit)

    def embed(self, ids: ir.Value, output: str) -> ir.Value:
        """Return one row per token."""
        layer, op = self.layer, self.builder.op
        if layer.scale is None:
            return op(f"Embed{FLOAT_NAMES[layer.kind].suffix}", [ids, layer.weight], output)
        inputs = [ids, layer.weight, layer.scale]
        if layer.kind is Kind.INT8:
            return op("EmbedQ8", inputs, output)
        return op("GroupEmbed", inputs, output, n=layer.n, k=layer.k, group=layer.group)

    def logits(
        self, x: Activations, output: str, *, activations: ActivationKind = "int8"
    ) -> ir.Value:
        """Return x times the transposed table."""
        return self.layer.product(x, x.name, output, activations)
