"""inspect --graph: what is drawn is what the file holds, equal blocks once, in every form."""

from __future__ import annotations

import dataclasses
import json
import re
import xml.dom.minidom
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from tests.tiny_checkpoint import Checkpoint, Shape, write_checkpoint
from tests.tiny_families import USUAL, write_family

from bitexport.emit.manifest import Bundle
from bitexport.errors import BitexportError
from bitexport.report.fold import Folded, fold
from bitexport.report.graph import Graph, Node, graph_of_onnx, read_graph
from bitexport.report.graph_drawing import draw, whole_file
from bitexport.report.graph_page import graph_page
from bitexport.report.graph_text import graph_facts, graph_text
from bitexport_ref.bitx import open_bitx

LAYERS = 5
OPSETS = (helper.make_opsetid("", 21), helper.make_opsetid("of.somebody", 1))


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """Return the graph of a checkpoint of five layers."""
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("deep") / "deep", Shape(layers=LAYERS))
    return read_graph(checkpoint.path)


def network(*nodes: onnx.NodeProto, **weights: list[int]) -> Graph:
    """Return the graph of an ONNX model of one input x [1, 8], whose last value is its output."""
    made = helper.make_graph(
        list(nodes), "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [helper.make_tensor(name, TensorProto.FLOAT, shape, b"\0" * 4 * shape[0] * shape[-1],
                            raw=True) for name, shape in weights.items()],
    )  # fmt: skip
    return graph_of_onnx(helper.make_model(made, opset_imports=OPSETS), "net.onnx")


# ---- reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny", "ragged"])
def test_the_graph_of_a_bundle_is_its_plan(name: str, bundles: dict[str, Bundle]) -> None:
    graph, bitx = read_graph(bundles[name].path), open_bitx(bundles[name].data)
    assert [node.op.upper() for node in graph.nodes] == [
        op.code.name.replace("_", "") for op in bitx.ops
    ]
    covered = sum(op.covers - 1 for op in bitx.ops if op.fusion)
    assert graph.steps == len(bitx.ops) - covered
    assert {name: weight.bytes for name, weight in graph.weights.items()} == {
        tensor.name: tensor.size for tensor in bitx.tensors
    }
    assert read_graph(bundles[name].data).nodes == graph.nodes


@pytest.mark.parametrize("name", ["tiny", "ragged"])
def test_a_checkpoint_has_the_graph_that_its_bundle_has(
    name: str, tiny: Checkpoint, ragged: Checkpoint, bundles: dict[str, Bundle]
) -> None:
    checkpoint = {"tiny": tiny, "ragged": ragged}[name]
    ours, built = read_graph(checkpoint.path), read_graph(bundles[name].path)
    assert dataclasses.replace(ours, about=built.about) == built
    assert "as `build --target arm64` lowers it" in ours.about


def test_the_graph_of_an_onnx_file_is_its_nodes(bundles: dict[str, Bundle]) -> None:
    graph = read_graph(bundles["tiny"].graph)
    nodes = onnx.load(bundles["tiny"].graph, load_external_data=False).graph.node
    assert [node.op for node in graph.nodes] == [node.op_type for node in nodes]
    assert graph.weights.keys() == read_graph(bundles["tiny"].path).weights.keys()
    for name, weight in read_graph(bundles["tiny"].path).weights.items():
        found = graph.weights[name]
        assert (found.shape, found.stored, found.bytes) == (
            weight.shape, weight.stored, weight.bytes,
        )  # fmt: skip


def test_shapes_that_an_onnx_file_does_not_say_are_inferred() -> None:
    graph = network(
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Strange", ["y"], ["z"], domain="of.somebody", level=3, words="a"),
        w=[8, 3],
    )
    assert [value.type for node in graph.nodes for value in node.outputs] == ["f32 [1, 3]", "f32"]
    assert graph.nodes[1].attributes == ("level 3", "words a")


def test_what_has_no_graph_is_refused(tiny: Checkpoint, tmp_path: Path) -> None:
    for path in (tiny.path / "model.safetensors", tmp_path / "absent"):
        with pytest.raises(BitexportError, match=re.escape(str(path))) as refusal:
            read_graph(path)
        assert refusal.value.hint


@pytest.mark.parametrize("family", USUAL)
def test_every_family_is_drawn_with_its_layers_folded(family: str, tmp_path: Path) -> None:
    path = write_family(tmp_path, family)
    layers = json.loads((path / "config.json").read_text(encoding="utf-8"))["num_hidden_layers"]
    folded = fold(read_graph(path))
    assert [part.times for part in folded.parts] == [1, layers, 1]
    assert {weight.kind for weight in folded.graph.weights.values()} >= {"norms", "tables"}
    xml.dom.minidom.parseString(whole_file(folded))


# ---- folding ---------------------------------------------------------------------------------


def unfolded(folded: Folded) -> list[str]:
    """Return the ops of a folded graph with all repetitions."""
    return [
        folded.graph.nodes[at].op
        for part in folded.parts for _ in range(part.times) for at in part.nodes
    ]  # fmt: skip


def test_equal_layers_are_one_block_with_a_count(deep: Graph) -> None:
    folded = fold(deep)
    assert [part.times for part in folded.parts] == [1, LAYERS, 1]
    assert folded.parts[1].label == f"layers 0 to {LAYERS - 1}"
    assert folded.parts[1].prefix == "model.layers.0."
    assert unfolded(folded) == [node.op for node in deep.nodes]
    carried = [wire for at in folded.parts[1].nodes for wire in folded.wires(folded.parts[1], at)
               if wire.then is not None]  # fmt: skip
    assert {(wire.source, wire.then) for wire in carried} == {(0, folded.parts[1].nodes[-1])}
    assert folded.last_rows(folded.parts[1]) > 0


def test_a_layer_that_differs_is_drawn_by_itself(deep: Graph) -> None:
    block = fold(deep).parts[1]
    odd = block.start + 2 * block.size + 3
    weight = deep.nodes[odd].weights[0]
    changed = dataclasses.replace(
        deep.nodes[odd], weights=(dataclasses.replace(weight, stored="t5x3"),)
    )
    nodes = (*deep.nodes[:odd], changed, *deep.nodes[odd + 1 :])
    folded = fold(dataclasses.replace(deep, nodes=nodes))
    assert [part.times for part in folded.parts] == [1, 2, 1, 2, 1]
    assert [part.label for part in folded.parts if part.times > 1] == [
        "layers 0 to 1", "layers 3 to 4",
    ]  # fmt: skip


def test_equal_nodes_beside_each_other_are_not_a_block() -> None:
    made = []
    for branch in "abcd":
        made += [
            helper.make_node("MatMul", ["x", "w"], [f"{branch}1"]),
            helper.make_node("Relu", [f"{branch}1"], [f"{branch}2"]),
            helper.make_node("Neg", [f"{branch}2"], [f"{branch}3"]),
        ]
    made.append(helper.make_node("Sum", ["a3", "b3", "c3", "d3"], ["y"]))
    assert [part.times for part in fold(network(*made, w=[8, 8])).parts] == [1]


def test_blocks_that_are_wired_otherwise_are_not_folded() -> None:
    made = [helper.make_node("Neg", ["x"], ["v0"])]
    for at, skipped in enumerate(("v0", "v0", "v1")):  # the third skips one more than the second
        made += [
            helper.make_node("Relu", [f"v{at}"], [f"a{at}"]),
            helper.make_node("Abs", [f"a{at}"], [f"b{at}"]),
            helper.make_node("Add", [f"b{at}", skipped], [f"v{at + 1}"]),
        ]
    assert [part.times for part in fold(network(*made)).parts] == [1]


def test_names_of_symbolic_dimensions_do_not_tell_blocks_apart() -> None:
    made = [helper.make_node("Neg", ["x"], ["v0"])]
    for at in range(3):
        made += [
            helper.make_node(op, [name], [f"{op}{at}"])
            for op, name in (("Relu", f"v{at}"), ("Abs", f"Relu{at}"), ("Exp", f"Abs{at}"))
        ]
        made.append(helper.make_node("Add", [f"Exp{at}", f"v{at}"], [f"v{at + 1}"]))
    graph = network(*made)

    def renamed(at: int, node: Node) -> Node:
        (value,) = node.outputs
        shape = ("batch", 8) if at < 5 else (f"unk__{at}", f"unk__{at + 1}")
        return dataclasses.replace(node, outputs=(dataclasses.replace(value, shape=shape),))

    nodes = tuple(renamed(at, node) for at, node in enumerate(graph.nodes))
    symbolic = dataclasses.replace(graph, nodes=nodes)
    assert [part.times for part in fold(symbolic).parts] == [1, 3]
    fixed = dataclasses.replace(nodes[6], outputs=graph.nodes[6].outputs)  # [1, 8]
    other = dataclasses.replace(graph, nodes=(*nodes[:6], fixed, *nodes[7:]))
    assert max(part.times for part in fold(other).parts) < 3


# ---- showing ---------------------------------------------------------------------------------


def test_the_text_has_a_line_for_each_op_that_is_drawn(deep: Graph) -> None:
    lines = graph_text(deep).splitlines()
    folded = fold(deep)
    numbered = [line for line in lines if re.match(r"[│ ] +\d+  ", line)]
    assert len(numbered) == len(folded.drawn)
    assert lines[0].startswith(f"tiny: {len(deep.nodes)} ops run as {deep.steps} steps; ")
    assert "state  past_key_values.N.key: f16 [context, 32], N from 0 to 4" in lines
    assert any(line.startswith(f"┌ {LAYERS} times: layers 0 to 4, ") for line in lines)
    (norm,) = (line for line in numbered if " input_layernorm " in line)
    assert f"1, then {folded.parts[1].nodes[-1] + 1} " in norm
    assert max(map(len, lines)) < 200


def test_the_facts_are_plain_data_and_add_up(deep: Graph) -> None:
    facts = graph_facts(deep)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["ops"] == sum(part["times"] * len(part["nodes"]) for part in facts["parts"])
    outside = {
        weight["name"]: weight["bytes"]
        for part in facts["parts"] for node in part["nodes"] for weight in node["weights"]
        if part["times"] == 1 or not weight["name"].startswith("model.layers")
    }  # fmt: skip
    assert facts["bytes"] == LAYERS * facts["parts"][1]["bytes"] + sum(outside.values())


def test_a_page_and_a_drawing_stand_alone(deep: Graph, bundles: dict[str, Bundle]) -> None:
    for graph in (deep, read_graph(bundles["ragged"].graph), read_graph(bundles["tiny"].path)):
        page, drawing = graph_page(graph), whole_file(fold(graph))
        for text in (page, drawing):
            assert not re.search(r"<script|<link|<img|<use|@import|url\(|href", text)
            addresses = set(re.findall(r'https?://[^"\s]*', text))
            assert addresses == {"http://www.w3.org/2000/svg"}
        assert "default-src 'none'" in page
        assert "prefers-color-scheme: dark" in page
        assert "prefers-color-scheme: dark" in drawing
        assert xml.dom.minidom.parseString(drawing).documentElement.tagName == "svg"
        cards = re.findall(r'<rect class="card"', drawing)
        steps = {(part.start, graph.nodes[at].step) for part in fold(graph).parts
                 for at in part.nodes}  # fmt: skip
        assert len(cards) == len(steps)
        assert drawing.count('class="frame"') == 1
        assert page.count("<svg") == 1


def test_every_string_of_the_file_is_escaped() -> None:
    evil = "<u>&\"'"
    graph = network(helper.make_node(evil, ["x", evil], [f"y{evil}"], text=evil), **{evil: [8, 8]})
    for text in (graph_page(dataclasses.replace(graph, name=evil)), whole_file(fold(graph))):
        assert "<u>" not in text
    xml.dom.minidom.parseString(whole_file(fold(graph)))


def test_drawing_twice_gives_the_same_bytes(deep: Graph) -> None:
    assert draw(fold(deep)) == draw(fold(deep))


def test_a_graph_without_a_node_is_drawn() -> None:
    empty = Graph(name="none", about="nothing", nodes=(), inputs=(), states=(), outputs=())
    assert "0 ops" in graph_text(empty)
    xml.dom.minidom.parseString(whole_file(fold(empty)))
