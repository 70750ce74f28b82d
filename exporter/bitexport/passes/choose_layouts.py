"""Give every matrix of small integers its weight layout."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from bitexport.checkpoints.matrix import Kind
from bitexport.layouts import load_layout
from bitexport.models.parts.stored import attach, stored_in

LOGICAL = frozenset({"TernaryMatMul", "GroupMatMul", "GroupMatMulInt16", "GroupEmbed"})
WEIGHT = 1


def choose_layouts(model: ir.Model, ternary: str) -> None:
    """`TernaryMatMul` over trits becomes `TernaryMatMulP2R` over bytes, and so on.

    `ternary` is the target's layout of trits; signs and 4-bit integers have one each.
    """
    layouts = {Kind.TRITS: ternary, Kind.SIGNS: "b1r", Kind.INT4: "q4r"}
    for node in model.graph:
        if node.op_type not in LOGICAL:
            continue
        weight = node.inputs[WEIGHT]
        assert weight is not None
        stored = stored_in(weight)
        layout = layouts[stored.matrix.kind]
        if stored.layout != layout:  # a table that is also the head has it already
            attach(weight, dataclasses.replace(stored, layout=layout))
        node.op_type += load_layout(layout).SUFFIX
        node.name = f"{node.outputs[0].name}:{node.op_type}"
