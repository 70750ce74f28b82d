"""What is known before anything runs: nodes whose inputs are all constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

Array = NDArray[Any]

IR_VERSION = 8
"""Of the one-node models that are evaluated: every opset that is read allows it."""
DEFAULT_AXIS = 1


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of a node as plain numbers, lists, strings and arrays."""
    found = {}
    for entry in node.attribute:
        value = onnx.helper.get_attribute_value(entry)
        if isinstance(value, onnx.TensorProto):
            value = onnx.numpy_helper.to_array(value)
        found[entry.name] = value.decode() if isinstance(value, bytes) else value
    return found


def evaluate(node: onnx.NodeProto, inputs: Sequence[Array | None], opset: int) -> list[Array]:
    """Run a standard node on constants, by the definition that the onnx package has of it."""
    if node.op_type == "DequantizeLinear":
        return [dequantized(inputs, attributes_of(node))]
    named = {name: array for name, array in zip(node.input, inputs, strict=True) if name}
    graph = onnx.helper.make_graph(
        [node], "constant",
        [onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
         for name, array in named.items() if array is not None],
        [onnx.ValueInfoProto(name=name) for name in node.output],
    )  # fmt: skip
    imports = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
    return list(map(np.asarray, ReferenceEvaluator(model).run(None, named)))


def dequantized(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> Array:
    """Return (x - zero_point) * scale in float32; int2, uint2 and int4 are integers like others."""
    x, scale, *rest = inputs
    assert x is not None
    assert scale is not None
    zero = rest[0] if rest else None
    shift = np.zeros_like(scale, np.float32) if zero is None else zero.astype(np.float32)
    factor = scale.astype(np.float32)
    axis = int(attributes.get("axis", DEFAULT_AXIS))
    size = int(attributes.get("block_size", 0))
    if size:
        factor, shift = (
            np.take(np.repeat(each, size, axis=axis), range(x.shape[axis]), axis=axis)
            for each in (factor, shift)
        )
    elif factor.ndim == 1 and factor.size > 1:
        shape = [1] * x.ndim
        shape[axis] = -1
        factor, shift = factor.reshape(shape), shift.reshape(shape)
    return np.asarray((x.astype(np.float32) - shift) * factor, np.float32)
