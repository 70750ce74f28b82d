"""choose_layouts: what a matrix holds says how its bytes lie, whatever op reads it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from tests.mixed_network import COLUMNS, LAYERS, VOCABULARY, build, matrix

from bitexport.checkpoints.matrix import Kind
from bitexport.models.parts.stored import StoredMatrix, attach, stored_in
from bitexport.passes.choose_layouts import ROWS_FOR_TABLES, choose_layouts, suited_layout
from bitexport.passes.pipeline import check_graph

SUFFIXES = {Kind.TRITS: "P2R", Kind.SIGNS: "B1R", Kind.INT4: "Q4R"}


def weights_of(model: ir.Model) -> dict[str, tuple[str, ir.Value]]:
    """Return op type and weight of every layer, by the name of its output."""
    found = {}
    for node in model.graph:
        if node.op_type.startswith(("TernaryMatMul", "GroupMatMul", "GroupEmbed")):
            weight = node.inputs[1]
            assert weight is not None
            found[str(node.outputs[0].name)] = node.op_type, weight
    return found


@pytest.fixture
def model() -> ir.Model:
    """Return a network with every kind of layer, laid out."""
    built = build()
    choose_layouts(built, "p2r")
    return built


def test_every_layer_of_small_integers_gets_the_layout_of_its_weights(model: ir.Model) -> None:
    found = weights_of(model)
    for name, kind, group, activations in LAYERS:
        outputs = [f"{name}.sum", f"{name}.low_sum", f"{name}.output"]
        types = {found[output][0] for output in outputs if output in found}
        if kind not in SUFFIXES:
            assert not types
        else:
            op = "GroupMatMul" if group or activations == "int8-group" else "TernaryMatMul"
            if op == "GroupMatMul" and activations == "int16":
                op = "GroupMatMulInt16"
            assert types == {f"{op}{SUFFIXES[kind]}"}


@pytest.mark.parametrize("ternary", ["p2b", "t5x3", "p16"])
def test_trits_in_groups_stay_in_a_layout_whose_columns_can_be_cut(ternary: str) -> None:
    built = build()
    choose_layouts(built, ternary)
    found = {op_type for op_type, _ in weights_of(built).values()}
    assert f"TernaryMatMul{ternary.upper()}" in found
    assert "TernaryMatMulP2R" not in found
    assert "GroupMatMulP2R" in found


def test_laid_out_weights_are_a_row_of_bytes(model: ir.Model) -> None:
    for op_type, weight in weights_of(model).values():
        stored = stored_in(weight)
        n, k = stored.matrix.rows, stored.matrix.columns
        tile, bits = {"P2R": (16, 2), "B1R": (32, 1), "Q4R": (8, 4)}[op_type[-3:]]
        size = -(-n // tile) * tile * (-(-k // 16) * 16) * bits // 8
        assert (stored.dtype, stored.shape, weight.shape) == (ir.DataType.UINT8, (size,), (size,))
        assert stored.logical_shape == (n, k)


@pytest.mark.parametrize("kind", SUFFIXES)
def test_a_table_that_is_also_the_head_is_laid_out_once(kind: Kind) -> None:
    model = build(kind, 32)
    choose_layouts(model, "p2r")
    found = weights_of(model)
    (embed_type, table), (head_type, head) = found["embedded"], found["logits"]
    assert (embed_type, head_type) == (
        f"GroupEmbed{SUFFIXES[kind]}", f"GroupMatMulInt16{SUFFIXES[kind]}",
    )  # fmt: skip
    assert table is head
    assert stored_in(table).logical_shape == (VOCABULARY, COLUMNS)
    check_graph(model)


@pytest.mark.parametrize("kind", [Kind.FLOAT, Kind.FLOAT16, Kind.BFLOAT16, Kind.INT8])
def test_a_table_of_whole_elements_stays_plain(kind: Kind) -> None:
    model = build(kind, 0)
    choose_layouts(model, "p2r")
    assert stored_in(model.graph.initializers["embedding.weight"]).layout == "plain"
    check_graph(model)


def of_rows(n: int) -> ir.Model:
    """Return the network with so many rows in every matrix of trits."""
    model = build()
    for node in model.graph:
        weight = node.inputs[1] if node.op_type == "TernaryMatMul" else None
        if weight is not None and stored_in(weight).matrix.kind is Kind.TRITS:
            zeros = matrix("w", Kind.TRITS, np.zeros((n, COLUMNS), np.int8))
            attach(weight, StoredMatrix(matrix=zeros, logical_shape=(n, COLUMNS)))
    return model


def test_tables_are_made_where_the_rows_pay_for_them() -> None:
    assert suited_layout(of_rows(ROWS_FOR_TABLES), "p16") == "p16"
    assert suited_layout(of_rows(ROWS_FOR_TABLES - 1), "p16") == "p2r"
    assert suited_layout(of_rows(1), "p2b") == "p2b"
    assert suited_layout(of_rows(ROWS_FOR_TABLES), "p2r") == "p2r"


def test_grouped_trits_stay_in_p2r_whatever_the_target_prefers() -> None:
    model = build()
    choose_layouts(model, "p16")
    types = {op_type for op_type, _ in weights_of(model).values()}
    assert {"TernaryMatMulP16", "TernaryMatMulB1R", "GroupMatMulP2R"} <= types
    assert not any(op_type.endswith("P16") for op_type in types - {"TernaryMatMulP16"})
