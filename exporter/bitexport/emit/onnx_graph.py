"""Write model.onnx: the graph, function bodies, and initializers that point into model.bitx."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx_ir as ir

from bitexport.emit.exactness import INTEGER_PRODUCT, exactness_of_nodes
from bitexport.emit.standard_graph import EXACTNESS
from bitexport.models.parts.stored import stored_in
from bitexport.ops import DOMAIN, function_of, register_schemas

BODY_EXACTNESS = f"{EXACTNESS}.body"
"""Key of a node's metadata: the class of its function body, or of a standard op, without our
kernels."""
STOCK = "bitexport.without_kernels"
"""Key of the graph's metadata: what it costs to run the function bodies."""
UNPACKED = "bitexport.without_kernels.unpacked_bytes"
LOADING = 7
"""Bytes for each weight that onnxruntime holds while it folds the bodies of p2r: 7.2 were measured
(tests/full_size/graphs.py); layouts in base 3 take more."""


def write_onnx(
    model: ir.Model, path: Path, data: str, offsets: Mapping[str, int], facts: Mapping[str, str]
) -> None:
    """Save the graph next to the data file that its initializers live in, and check it."""
    graph = model.graph
    for name, value in graph.initializers.items():
        stored = stored_in(value)
        value.const_value = ir.ExternalTensor(
            data, offsets[name], stored.nbytes, stored.dtype,
            shape=ir.Shape(stored.shape), name=name, base_dir=path.parent,
        )  # fmt: skip
    proto = ir.to_proto(model)
    used = sorted({node.op_type for node in graph if node.domain == DOMAIN})
    proto.functions.extend(function_of(op_type) for op_type in used)
    _say_how_exact(proto)
    for key, text in sorted({**facts, **_fallback(proto)}.items()):
        proto.metadata_props.add(key=key, value=text)
    path.write_bytes(proto.SerializeToString(deterministic=True))
    register_schemas()
    onnx.checker.check_model(path, full_check=True)


def unpacked_bytes(proto: onnx.ModelProto) -> int:
    """Return how many bytes of int8 the function bodies make of packed weights: one each."""
    integer = {
        function.name
        for function in proto.functions
        if any(node.op_type == INTEGER_PRODUCT for node in function.node)
    }
    total = 0
    for node in proto.graph.node:
        sizes = {each.name: each.i for each in node.attribute}
        if node.op_type in integer and {"n", "k"} <= sizes.keys():
            total += sizes["n"] * sizes["k"]
    return total


def _say_how_exact(proto: onnx.ModelProto) -> None:
    """Give every node its class; with our kernels each op has the bits of the reference."""
    bodies = {
        function.name: exactness_of_nodes(node.op_type for node in function.node)
        for function in proto.functions
    }
    for node in proto.graph.node:
        node.metadata_props.add(key=EXACTNESS, value="bit-exact")
        body = bodies.get(node.op_type) or exactness_of_nodes([node.op_type])
        node.metadata_props.add(key=BODY_EXACTNESS, value=body)


def _fallback(proto: onnx.ModelProto) -> Mapping[str, str]:
    """Say what a runtime without our kernels does with this graph."""
    size = unpacked_bytes(proto)
    return {
        "bitexport.flavour": "packed",
        "bitexport.exactness": "bit-exact with the kernels of bitexport; integer-core-exact "
        "through the function bodies",
        STOCK: f"the function bodies unpack {size} weights at load, which takes {LOADING} bytes of "
        "memory each, or more; `build --onnx portable` writes a graph without that",
        UNPACKED: str(size),
    }
