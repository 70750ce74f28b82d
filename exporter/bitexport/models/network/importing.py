"""From an ONNX file to the graph of the plan's ops, node by node."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from bitexport.checkpoints.onnx_file import STANDARD, OnnxFile
from bitexport.errors import CheckpointError
from bitexport.models.network import operators
from bitexport.models.network.flows import Emitter, Flow, Numbers
from bitexport.models.network.folding import attributes_of, evaluate
from bitexport.models.network.layers import Layers
from bitexport.models.parts.builder import GraphBuilder
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.options import Options
from bitexport.ops import Type

Array = NDArray[Any]
Value = Array | Flow

PICTURES = frozenset({
    "Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean",
})  # fmt: skip
"""Operators that move over a picture; a network with one of them computes one sample a call."""
PICTURE_RANK = 4
BATCH = "batch"
OPTIONS = {"cache": "kv-cache"}
"""Fields of Options whose option has another name."""
REPLACED = {
    "ArgMax": "let the network end with the scores; who runs it takes the largest",
    "TopK": "let the network end with the scores; who runs it takes the largest",
    "Trunc": "a truncated average has no counterpart here; use AveragePool and Quant",
}


def build_network(file: OnnxFile, options: Options) -> tuple[ir.Model, Facts]:
    """Return the unfused graph of a network, and what is known of it."""
    refuse_options(file, options)
    importer = Importer(file, options)
    model = importer.run()
    kinds = importer.layers.activations
    facts = Facts(
        name=file.path.stem, family="network", container="onnx",
        activations=" and ".join(sorted(kinds)) or "none",
        activations_because="as the graph says"
        if kinds <= {"codes"}
        else "layers that the graph gives floats round them anew for each row",
    )  # fmt: skip
    return model, facts


def refuse_options(file: OnnxFile, options: Options) -> None:
    """Refuse what only a language model has."""
    usual = Options()
    for name in (
        "embedding", "head_activations", "cache", "context", "family", "container", "ternarize",
    ):  # fmt: skip
        if getattr(options, name) != getattr(usual, name):
            raise CheckpointError(
                f"--{OPTIONS.get(name, name.replace('_', '-'))} is for language models, "
                f"{file.path} is a network",
                hint="leave it out",
            )


class Importer:
    """Walks over the nodes in their order; every name has a constant, or a flow."""

    def __init__(self, file: OnnxFile, options: Options) -> None:
        self.file = file
        self.values: dict[str, Value] = dict(file.tensors)
        self.notes: dict[str, str] = {}
        """What is worth telling of a constant: how it was quantized."""
        ops = {node.op_type for node in file.graph.node}
        self.is_spatial = bool(ops & PICTURES)
        self.inputs = [each for each in file.graph.input if each.name not in file.tensors]
        shapes = {each.name: self._shape(each) for each in self.inputs}
        self.builder = GraphBuilder(
            file.path.stem, [(name, self._input_type(shape)) for name, shape in shapes.items()]
        )
        names = {*shapes, *(each.name for each in file.graph.output)}
        self.emitter = Emitter(self.builder, file.path, names)
        self.layers = Layers(file.path, self.emitter, options)
        for name, shape in shapes.items():
            self.values[name] = self._input(name, shape)

    def run(self) -> ir.Model:
        """Return the graph, with the outputs of the network under their names."""
        for node in self.file.graph.node:
            self._node(node)
        self.layers.refuse_unused()
        outputs = [self._output(each.name) for each in self.file.graph.output]
        return self.builder.finish(outputs)

    # ---- inputs and outputs --------------------------------------------------------------------

    def _shape(self, given: onnx.ValueInfoProto) -> tuple[int, ...]:
        """Return the shape of an input with 1 for the batch, or say what is open in it."""
        where = f"{self.file.path}: input `{given.name}`"
        tensor = given.type.tensor_type
        if tensor.elem_type != onnx.TensorProto.FLOAT:
            kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
            raise CheckpointError(f"{where} is {kind}", hint="a network takes float32 numbers")
        dims = list(tensor.shape.dim)
        if len(dims) < 2:  # noqa: PLR2004 - batch, and something
            raise CheckpointError(
                f"{where} has {len(dims)} dimensions", hint="the first is the batch; name another"
            )
        for at, dim in enumerate(dims[1:], 1):
            if dim.dim_value < 1:
                open_one = dim.dim_param or "?"
                raise CheckpointError(
                    f"{where}: dimension {at}, `{open_one}`, has no fixed size",
                    hint="only the first, the batch, may be open; export with fixed sizes",
                )
        if dims[0].dim_value > 1:
            raise CheckpointError(
                f"{where} has a fixed batch of {dims[0].dim_value}",
                hint="export it with a batch of 1, or an open one",
            )
        return (1, *(dim.dim_value for dim in dims[1:]))

    def _input_type(self, shape: tuple[int, ...]) -> Type:
        if self.is_spatial and len(shape) == PICTURE_RANK:
            return Type(ir.DataType.FLOAT, shape)
        first = 1 if self.is_spatial else BATCH
        return Type(ir.DataType.FLOAT, (first, math.prod(shape[1:])))

    def _input(self, name: str, shape: tuple[int, ...]) -> Flow:
        value = self.builder.input(name)
        if not (self.is_spatial and len(shape) == PICTURE_RANK):
            return Flow(name, shape, Numbers(value))
        turned = self.emitter.op("ChannelsLast", [value], f"{name}.positions", channels=shape[1])
        return Flow(name, shape, Numbers(turned), picture=True)

    def _output(self, name: str) -> ir.Value:
        value = self.values.get(name)
        if not isinstance(value, Flow):
            raise CheckpointError(
                f"{self.file.path}: output `{name}` does not depend on an input",
                hint="a network computes something of what it is given",
            )
        flat = operators.flattened(self.emitter, value, f"{name}.flat") if value.picture else value
        made = self.emitter.floats(flat)
        if made in self.builder.graph.inputs or made in self.builder.graph.outputs:
            made = self.emitter.affine(made, np.ones(1), np.zeros(1), f"{name}.copy")
        made.name = name
        return made

    # ---- nodes -----------------------------------------------------------------------------------

    def _node(self, node: onnx.NodeProto) -> None:
        given = [self._value(node, name) for name in node.input]
        made: Sequence[Value]
        if node.op_type == "Shape" and isinstance(given[0], Flow):
            made = evaluate(node, [np.empty(given[0].shape, np.float32)], self.file.opset)
        elif not any(isinstance(each, Flow) for each in given):
            made = self._constants(node, given)  # type: ignore[arg-type]
        else:
            made = [self._compute(node, given)]
        for name, value in zip(node.output, made, strict=False):
            self.values[name] = value

    def _value(self, node: onnx.NodeProto, name: str) -> Value | None:
        if not name:
            return None
        if name not in self.values:
            raise CheckpointError(
                f"{self.file.path}: {called(node)} reads `{name}`, which nothing wrote before",
                hint="the model is damaged; export it again",
            )
        return self.values[name]

    def _constants(self, node: onnx.NodeProto, given: Sequence[Array | None]) -> Sequence[Array]:
        """Return what a node makes of constants, and remember how its result was quantized."""
        quantizer = operators.QUANTIZERS.get(node.op_type)
        if quantizer is None and node.domain not in STANDARD:
            raise self._unknown(node)
        for name in node.output:
            notes = [self.notes[each] for each in node.input if each in self.notes]
            if notes:
                self.notes[name] = notes[0]
        try:
            if quantizer is not None:
                x = given[0]
                assert x is not None
                found = quantizer(self.where(node), attributes_of(node), given[1:])
                self.notes[node.output[0]] = f"{node.op_type} of {found.levels.bit_length()} bits"
                return [found.values(x.astype(np.float32))]
            return evaluate(node, given, self.file.opset)
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(
                f"{self.where(node)} cannot be computed: {error}",
                hint="its inputs are constants that do not suit it; export the model again",
            ) from error

    def _compute(self, node: onnx.NodeProto, given: Sequence[Value | None]) -> Flow:
        """Return what a node makes of flows."""
        function = operators.HANDLERS.get(node.op_type)
        quantizer = operators.QUANTIZERS.get(node.op_type)
        known = node.domain in STANDARD or quantizer is not None
        if not known or (function is None and quantizer is None):
            raise self._unknown(node)
        attributes = attributes_of(node)
        call = operators.Call(
            node=node, where=self.where(node), attributes=attributes, given=given,
            name=node.output[0], emitter=self.emitter, layers=self.layers,
            opset=self.file.opset, notes=self.notes,
        )  # fmt: skip
        if quantizer is not None:
            return operators.quantize(call, quantizer)
        assert function is not None
        return function(call)

    def _unknown(self, node: onnx.NodeProto) -> CheckpointError:
        kind = node.op_type if node.domain in STANDARD else f"{node.domain}::{node.op_type}"
        known = ", ".join(sorted({*operators.HANDLERS, *operators.QUANTIZERS}))
        return CheckpointError(
            f"{self.file.path}: `{node.name or node.output[0]}` is a `{kind}`, which is not "
            "supported",
            hint=REPLACED.get(node.op_type, f"supported are {known}, and others on constants"),
        )

    def where(self, node: onnx.NodeProto) -> str:
        """Name a node and its file, for messages."""
        return f"{self.file.path}: {called(node)}"


def called(node: onnx.NodeProto) -> str:
    """Name a node, or if it has no name what it makes."""
    return f"{node.op_type} `{node.name or node.output[0]}`"
