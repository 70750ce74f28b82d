"""Registered schemas: onnx itself finds the types that the exporter gave, and checks a graph."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
from onnx import helper
from tests.mixed_network import build
from tests.tiny_checkpoint import Checkpoint

from bitexport.checkpoints.checkpoint import open_checkpoint
from bitexport.checkpoints.matrix import Kind
from bitexport.emit.manifest import Bundle
from bitexport.emit.onnx_graph import write_onnx
from bitexport.models import build_model
from bitexport.models.parts.options import Options
from bitexport.models.parts.stored import stored_matrices
from bitexport.ops import DOMAIN, all_ops, register_schemas
from bitexport.passes.choose_layouts import choose_layouts
from bitexport.paths import targets_root


def types(model: onnx.ModelProto) -> dict[str, str]:
    """Return the type of every node's output by name, as text."""
    written = {name for node in model.graph.node for name in node.output}
    values = (*model.graph.value_info, *model.graph.output)
    return {v.name: helper.printable_type(v.type) for v in values if v.name in written}


@pytest.mark.parametrize("laid_out", [False, True], ids=["before_layout", "after_layout"])
@pytest.mark.parametrize("options", [
    Options(), Options(embedding="f32", cache="f32"), Options(embedding="q8"),
], ids=["bf16", "f32", "q8"])  # fmt: skip
def test_shape_inference_finds_the_types_that_the_graph_carries(
    each: Checkpoint, options: Options, laid_out: bool, tmp_path: Path
) -> None:
    graph, _ = build_model(open_checkpoint(each.path), options)
    check_inference(graph, tmp_path, laid_out=laid_out)


@pytest.mark.parametrize("laid_out", [False, True], ids=["before_layout", "after_layout"])
@pytest.mark.parametrize(("table", "group"), [
    (Kind.SIGNS, 64), (Kind.TRITS, 32), (Kind.INT4, 32), (Kind.FLOAT16, 0), (Kind.INT8, 0),
])  # fmt: skip
def test_shape_inference_finds_the_types_of_every_kind_of_layer(
    table: Kind, group: int, laid_out: bool, tmp_path: Path
) -> None:
    check_inference(build(table, group), tmp_path, laid_out=laid_out)


def check_inference(graph: ir.Model, tmp_path: Path, *, laid_out: bool) -> None:
    """Write the graph without the types of its values, and let onnx find them again."""
    if laid_out:
        choose_layouts(graph, "p2r")
    offsets = dict.fromkeys(stored_matrices(graph), 0)
    biggest = max(stored.nbytes for stored in stored_matrices(graph).values())
    (tmp_path / "model.bitx").write_bytes(bytes(biggest))
    write_onnx(graph, tmp_path / "model.onnx", "model.bitx", offsets, {})
    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    carried = types(model)
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.ClearField("type")
    inferred = types(onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True))
    assert carried.keys() == {name for node in model.graph.node for name in node.output}
    assert inferred == carried


def test_the_checker_knows_every_op_of_a_bundle(bundles: dict[str, Bundle]) -> None:
    register_schemas()
    for bundle in bundles.values():
        onnx.checker.check_model(bundle.graph, full_check=True)


def test_the_checker_refuses_an_attribute_that_is_missing(bundles: dict[str, Bundle]) -> None:
    register_schemas()
    model = onnx.load(bundles["tiny"].graph)
    node = next(node for node in model.graph.node if node.op_type == "Rope")
    del node.attribute[:]
    with pytest.raises(onnx.checker.ValidationError, match="heads"):
        onnx.checker.check_model(model)


def test_every_form_is_registered_once_under_its_domain() -> None:
    register_schemas()
    register_schemas()
    for op in all_ops().values():
        for form in op.forms:
            schema = onnx.defs.get_schema(form.op_type, domain=op.domain)
            assert [value.name for value in schema.inputs][: len(form.inputs)]
            if op.domain == DOMAIN:
                assert [value.name for value in schema.inputs] == list(form.inputs)
                assert [value.name for value in schema.outputs] == list(form.outputs)


def test_op_codes_are_those_of_the_format() -> None:
    text = (targets_root() / "FORMAT.md").read_text(encoding="utf-8")
    listed = re.search(r"\| op code: (.*) \|", text)
    assert listed
    codes = {name: int(code) for code, name in re.findall(r"(\d+) (\w+)", listed[1])}
    assert codes == {op.name: op.code for op in all_ops().values()}
