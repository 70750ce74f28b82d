"""Give every ternary matrix the weight layout of the target."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from bitexport.layouts import load_layout
from bitexport.models.parts.stored import attach, stored_in


def choose_layouts(model: ir.Model, layout: str) -> None:
    """`TernaryMatMul` over trits becomes `TernaryMatMulP2R` over bytes, and so on."""
    suffix = load_layout(layout).SUFFIX
    for node in model.graph:
        if node.op_type != "TernaryMatMul":
            continue
        weight = node.inputs[1]
        assert weight is not None
        attach(weight, dataclasses.replace(stored_in(weight), layout=layout))
        node.op_type = f"TernaryMatMul{suffix}"
        node.name = f"{node.outputs[0].name}:{node.op_type}"
