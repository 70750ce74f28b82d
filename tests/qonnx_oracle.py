"""What a network with QONNX nodes computes: onnxruntime, with these nodes as standard ones.

onnxruntime knows neither `Quant` nor `BipolarQuant`; each is replaced by the ops of its definition
(github.com/fastmachinelearning/qonnx, docs/qonnx-custom-ops), nothing else is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LEAST_OPSET = 11  # of Round and Min over floats


class Oracle:
    """A network in onnxruntime; any batch."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        model = standard(onnx.load(path)).SerializeToString()
        self._session = onnxruntime.InferenceSession(model, options)
        self.inputs = [each.name for each in self._session.get_inputs()]

    def run(self, **inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the first output."""
        return next(iter(self.all_outputs(**inputs).values()))

    def all_outputs(self, **inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return every output by name."""
        names = [each.name for each in self._session.get_outputs()]
        return dict(zip(names, self._session.run(None, inputs), strict=True))


def standard(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model without nodes of QONNX; its batch is open."""
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    added: list[TensorProto] = []
    for node in model.graph.node:
        match node.op_type:
            case "Quant":
                nodes += _quant(node, constants, added)
            case "BipolarQuant":
                nodes += _bipolar(node, added)
            case _:
                nodes.append(node)
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(added)
    names = set(constants)
    for constant in [each for each in model.graph.input if each.name in names]:
        model.graph.input.remove(constant)
    for given in model.graph.input:
        given.type.tensor_type.shape.dim[0].dim_param = "batch"
    for made in model.graph.output:
        made.type.tensor_type.ClearField("shape")
    for entry in model.opset_import:
        if entry.domain == "":
            entry.version = max(entry.version, LEAST_OPSET)
    return model


def _quant(
    node: onnx.NodeProto, constants: Mapping[str, NDArray[Any]], added: list[TensorProto]
) -> list[onnx.NodeProto]:
    said = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    bits, narrow = int(constants[node.input[3]]), said["narrow"]
    least = narrow - 2 ** (bits - 1) if said["signed"] else 0
    most = 2 ** (bits - 1) - 1 if said["signed"] else 2**bits - 1 - narrow
    x, scale, zero, name = node.input[0], node.input[1], node.input[2], node.output[0]
    return [
        helper.make_node("Div", [x, scale], [f"{name}/scaled"]),
        helper.make_node("Add", [f"{name}/scaled", zero], [f"{name}/moved"]),
        helper.make_node("Min", [f"{name}/moved", _tensor(f"{name}/most", most, added)],
                         [f"{name}/below"]),
        helper.make_node("Max", [f"{name}/below", _tensor(f"{name}/least", least, added)],
                         [f"{name}/inside"]),
        helper.make_node("Round", [f"{name}/inside"], [f"{name}/codes"]),
        helper.make_node("Sub", [f"{name}/codes", zero], [f"{name}/back"]),
        helper.make_node("Mul", [f"{name}/back", scale], [name]),
    ]  # fmt: skip


def _bipolar(node: onnx.NodeProto, added: list[TensorProto]) -> list[onnx.NodeProto]:
    name = node.output[0]
    minus, zero, one = (_tensor(f"{name}/{number}", number, added) for number in (-1, 0, 1))
    return [
        helper.make_node("Less", [node.input[0], zero], [f"{name}/below"]),
        helper.make_node("Where", [f"{name}/below", minus, one], [f"{name}/signs"]),
        helper.make_node("Mul", [f"{name}/signs", node.input[1]], [name]),
    ]


def _tensor(name: str, number: float, added: list[TensorProto]) -> str:
    added.append(numpy_helper.from_array(np.float32(number), name))
    return name
