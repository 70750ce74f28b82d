"""Give every matrix of small integers its weight layout."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from bitexport.checkpoints.matrix import Kind
from bitexport.layouts import load_layout
from bitexport.models.parts.stored import attach, stored_in

LOGICAL = frozenset({"TernaryMatMul", "GroupMatMul", "GroupMatMulInt16", "GroupEmbed"})
WEIGHT = 1
ROWS_FOR_TABLES = 160
"""Rows from which on p16 costs less than p2r where it is the target's layout.

`bitexport bench kernels` counts 43 instructions per 64 weights and, because tables are made anew
for each matrix, 5600 for every 64 columns, beside 78 of p2r.
"""


def choose_layouts(model: ir.Model, ternary: str) -> None:
    """`TernaryMatMul` over trits becomes `TernaryMatMulP2R` over bytes, and so on.

    `ternary` is the layout of trits; grouped trits, signs and 4-bit integers have one each.
    """
    layouts = {Kind.TRITS: ternary, Kind.SIGNS: "b1r", Kind.INT4: "q4r"}
    for node in model.graph:
        if node.op_type not in LOGICAL:
            continue
        weight = node.inputs[WEIGHT]
        assert weight is not None
        stored = stored_in(weight)
        layout = layouts[stored.matrix.kind]
        if layout == ternary and node.op_type != "TernaryMatMul":
            layout = "p2r"  # columns of others are cut into groups
        if stored.layout != layout:  # a table that is also the head has it already
            attach(weight, dataclasses.replace(stored, layout=layout))
        node.op_type += load_layout(layout).SUFFIX
        node.name = f"{node.outputs[0].name}:{node.op_type}"


def suited_layout(model: ir.Model, preferred: str) -> str:
    """Return the layout of trits that suits the sizes of a model, given the target's.

    It is one for all matrices: a board's library holds the kernels of those it needs.
    """
    if preferred != "p16":
        return preferred
    shapes = [
        stored.logical_shape
        for node in model.graph
        if node.op_type == "TernaryMatMul" and (weight := node.inputs[WEIGHT]) is not None
        if (stored := stored_in(weight)).matrix.kind is Kind.TRITS
    ]
    saved = sum(k * (n - ROWS_FOR_TABLES) for n, k in shapes)
    return preferred if saved >= 0 else "p2r"
