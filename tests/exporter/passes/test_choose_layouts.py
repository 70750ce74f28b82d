"""choose_layouts: what a matrix holds says how its bytes lie, whatever op reads it."""

from __future__ import annotations

import onnx_ir as ir
import pytest
from tests.mixed_network import COLUMNS, LAYERS, VOCABULARY, build

from bitexport.checkpoints.matrix import Kind
from bitexport.models.parts.stored import stored_in
from bitexport.passes.choose_layouts import choose_layouts
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
