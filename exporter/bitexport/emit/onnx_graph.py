"""Write model.onnx: the graph, function bodies, and initializers that point into model.bitx."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx_ir as ir

from bitexport.models.parts.stored import stored_in
from bitexport.ops import DOMAIN, function_of, register_schemas


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
    for key, text in sorted(facts.items()):
        proto.metadata_props.add(key=key, value=text)
    path.write_bytes(proto.SerializeToString(deterministic=True))
    register_schemas()
    onnx.checker.check_model(path, full_check=True)
