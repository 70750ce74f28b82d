"""The builder: which ops a matrix becomes, and that a value is quantized once for all who ask."""

from __future__ import annotations

import collections

import numpy as np
import onnx_ir as ir
import pytest
from tests.mixed_network import build, matrix, random_weights

from bitexport.checkpoints.matrix import Kind
from bitexport.checkpoints.weights import Weights
from bitexport.errors import CheckpointError
from bitexport.models.parts.builder import Activations, EmbeddingTable, GraphBuilder
from bitexport.models.parts.options import ActivationKind
from bitexport.models.parts.stored import stored_in
from bitexport.ops import Type
from bitexport.passes.pipeline import check_graph

N, K = 12, 64


@pytest.fixture
def builder() -> GraphBuilder:
    """Return a graph with inputs x [rows, 64] and ids."""
    kinds = {
        "x": Type(ir.DataType.FLOAT, ("rows", K)), "ids": Type(ir.DataType.INT64, ("rows",)),
    }  # fmt: skip
    return GraphBuilder("test", list(kinds.items()))


def activations(builder: GraphBuilder) -> Activations:
    """Return the input x."""
    return Activations(builder, builder.input("x"), "x")


def ops(builder: GraphBuilder) -> list[str]:
    """Return the ops of the graph in order."""
    return [node.op_type for node in builder.graph]


@pytest.mark.parametrize(
    ("kind", "group", "chosen", "expected"),
    [
        (Kind.FLOAT, 0, "int8", ["DenseMatMulF32"]),
        (Kind.FLOAT16, 0, "int16", ["DenseMatMulF16"]),
        (Kind.BFLOAT16, 0, "int8-group", ["DenseMatMulBf16"]),
        (Kind.TRITS, 0, "int8", ["QuantizeRows", "TernaryMatMul", "Rescale"]),
        (Kind.SIGNS, 0, "int4", ["QuantizeRowsInt4", "TernaryMatMul", "Rescale"]),
        (Kind.TRITS, 0, "int16",
         ["QuantizeRowsInt16", "TernaryMatMul", "TernaryMatMul", "RescaleInt16"]),
        (Kind.TRITS, 0, "int8-group", ["QuantizeGroups", "GroupMatMul"]),
        (Kind.SIGNS, 32, "int8", ["QuantizeRows", "GroupMatMul"]),
        (Kind.SIGNS, 32, "int4", ["QuantizeRowsInt4", "GroupMatMul"]),
        (Kind.TRITS, 32, "int8-group", ["QuantizeGroups", "GroupMatMul"]),
        (Kind.INT4, 32, "int16", ["QuantizeRowsInt16", "GroupMatMulInt16"]),
        (Kind.INT8, 0, "int8", ["QuantizeRows", "DenseMatMulQ8", "Rescale"]),
        (Kind.INT8, 0, "int16",
         ["QuantizeRowsInt16", "DenseMatMulQ8", "DenseMatMulQ8", "RescaleInt16"]),
    ],
)  # fmt: skip
def test_a_layer_becomes_the_ops_of_its_weights_and_activations(
    kind: Kind, group: int, chosen: ActivationKind, expected: list[str], builder: GraphBuilder
) -> None:
    weights = random_weights(kind, N, K, group)
    y = builder.linear(activations(builder), weights, "layer", activations=chosen)
    assert y.name == "layer.output"
    assert ops(builder) == expected
    check_graph(builder.finish([y]))


def test_every_kind_of_layer_in_one_network_is_a_sound_graph() -> None:
    check_graph(build())


@pytest.mark.parametrize("chosen", ["int8", "int8-group", "int16", "int4"])
def test_layers_that_read_one_value_share_its_quantization(
    chosen: ActivationKind, builder: GraphBuilder
) -> None:
    x = activations(builder)
    for name in ("q_proj", "k_proj", "v_proj"):
        builder.linear(x, random_weights(Kind.TRITS, N, K, 32), name, activations=chosen)
    counts = collections.Counter(ops(builder))
    (quantize,) = (op for op in counts if op.startswith("Quantize"))
    assert counts[quantize] == 1
    assert counts.total() == 4


def test_other_integers_of_one_value_are_quantized_beside(builder: GraphBuilder) -> None:
    x = activations(builder)
    plan: list[tuple[ActivationKind, int]] = [
        ("int8", 32), ("int16", 32), ("int8-group", 32), ("int8-group", 64), ("int8-group", 32),
    ]  # fmt: skip
    for at, (chosen, group) in enumerate(plan):
        weights = random_weights(Kind.TRITS, N, K, group)
        builder.linear(x, weights, f"layer{at}", activations=chosen)
    quantizers = [op for op in ops(builder) if op.startswith("Quantize")]
    assert quantizers == [
        "QuantizeRows", "QuantizeRowsInt16", "QuantizeGroups", "QuantizeGroups",
    ]  # fmt: skip
    names = [value.name for node in builder.graph for value in node.outputs]
    assert len(set(names)) == len(names)


def test_both_products_of_int16_stand_directly_before_their_rescale(builder: GraphBuilder) -> None:
    builder.linear(activations(builder), random_weights(Kind.TRITS, N, K), "w", activations="int16")
    quantize, high, low, rescale = builder.graph
    assert [high.inputs[0], low.inputs[0]] == [quantize.outputs[0], quantize.outputs[1]]
    assert high.inputs[1] is low.inputs[1]
    assert [rescale.inputs[0], rescale.inputs[3]] == [high.outputs[0], low.outputs[0]]


def test_scales_have_the_rank_that_their_op_takes(builder: GraphBuilder) -> None:
    x = activations(builder)
    builder.linear(x, random_weights(Kind.TRITS, N, K), "one", activations="int8")
    builder.linear(x, random_weights(Kind.INT8, N, K), "row", activations="int8")
    builder.linear(x, random_weights(Kind.INT4, N, K, 32), "group", activations="int8")
    shapes = {
        name: (value.shape, value.dtype)
        for name, value in builder.graph.initializers.items()
        if name.endswith(".weight_scale")
    }
    assert shapes == {
        "one.weight_scale": ((1,), ir.DataType.FLOAT),
        "row.weight_scale": ((N,), ir.DataType.FLOAT),
        "group.weight_scale": ((2, N), ir.DataType.FLOAT16),
    }


def test_a_float16_scale_of_whole_rows_is_widened(builder: GraphBuilder) -> None:
    """Rescale takes float32, which holds every float16."""
    trits = random_weights(Kind.TRITS, N, K).values
    half = matrix("s", Kind.FLOAT16, np.array([[0.1]], np.float16))
    weights = Weights(values=trits, scale=half)
    builder.linear(activations(builder), weights, "w", activations="int8")
    stored = stored_in(builder.graph.initializers["w.weight_scale"])
    assert b"".join(stored.chunks()) == np.float32(np.float16(0.1)).tobytes()


@pytest.mark.parametrize(
    ("kind", "group", "expected"),
    [
        (Kind.FLOAT, 0, ["EmbedF32", "DenseMatMulF32"]),
        (Kind.FLOAT16, 0, ["EmbedF16", "DenseMatMulF16"]),
        (Kind.BFLOAT16, 0, ["EmbedBf16", "DenseMatMulBf16"]),
        (Kind.INT8, 0, ["EmbedQ8", "QuantizeRows", "DenseMatMulQ8", "Rescale"]),
        (Kind.SIGNS, 32, ["GroupEmbed", "QuantizeRows", "GroupMatMul"]),
        (Kind.TRITS, 0, ["GroupEmbed", "QuantizeRows", "GroupMatMul"]),
        (Kind.INT4, 32, ["GroupEmbed", "QuantizeRows", "GroupMatMul"]),
    ],
)
def test_a_table_embeds_and_is_the_head_without_being_stored_twice(
    kind: Kind, group: int, expected: list[str], builder: GraphBuilder
) -> None:
    table = EmbeddingTable(builder, random_weights(kind, N, K, group), "table")
    x = table.embed(builder.input("ids"), "embedding")
    logits = table.logits(Activations(builder, x, "head"), "logits", activations="int8")
    assert ops(builder) == expected
    assert len(builder.graph.initializers) == (1 if kind.value.startswith(("float", "bf")) else 2)
    check_graph(builder.finish([logits]))


@pytest.mark.parametrize("group", [8, 24, 8192])
def test_groups_that_no_kernel_sums_are_refused(group: int, builder: GraphBuilder) -> None:
    weights = random_weights(Kind.TRITS, N, 2 * group, group)
    kind = Type(ir.DataType.FLOAT, ("rows", 2 * group))
    wide = GraphBuilder("wide", [("x", kind)])
    with pytest.raises(CheckpointError, match=f"`layer` has a scale for every {group} columns"):
        wide.linear(activations(wide), weights, "layer", activations="int8")


def test_int8_rows_refuse_activations_in_groups(builder: GraphBuilder) -> None:
    weights = random_weights(Kind.INT8, N, K)
    with pytest.raises(CheckpointError, match="`layer` is int8 with one scale a row") as refusal:
        builder.linear(activations(builder), weights, "layer", activations="int8-group")
    assert "int16" in str(refusal.value.hint)


def test_a_norm_of_heads_has_one_weight_for_all(builder: GraphBuilder) -> None:
    weight = matrix("w", Kind.BFLOAT16, np.full((K // 4, 1), 0x3F80, np.uint16))
    y = builder.norm(builder.input("x"), weight, "q_norm", epsilon=1e-6, heads=4)
    (node,) = builder.graph
    assert node.attributes["heads"].value == 4
    assert builder.graph.initializers["q_norm.weight"].shape == (K // 4,)
    assert y.shape == ("rows", K)
