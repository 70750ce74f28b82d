"""model.onnx: its initializers are the very bytes of model.bitx, its bodies travel with it."""

from __future__ import annotations

import onnx
import pytest

from bitexport import __version__
from bitexport.emit.manifest import Bundle
from bitexport.ops import DOMAIN, DOMAIN_VERSION, IR_VERSION, ONNX_OPSET
from bitexport_ref.bitx import open_bitx


@pytest.fixture(params=["tiny", "ragged"])
def bundle(request: pytest.FixtureRequest, bundles: dict[str, Bundle]) -> Bundle:
    """Return each bundle in turn."""
    return bundles[request.param]


@pytest.fixture
def graph(bundle: Bundle) -> onnx.ModelProto:
    """Return its graph, without the weights."""
    return onnx.load(bundle.graph, load_external_data=False)


def test_initializers_point_at_the_tensors_of_the_bitx_file(
    graph: onnx.ModelProto, bundle: Bundle
) -> None:
    tensors = {tensor.name: tensor for tensor in open_bitx(bundle.data).tensors}
    assert {initializer.name for initializer in graph.graph.initializer} == tensors.keys()
    for initializer in graph.graph.initializer:
        assert initializer.data_location == onnx.TensorProto.EXTERNAL
        tensor = tensors[initializer.name]
        assert {entry.key: entry.value for entry in initializer.external_data} == {
            "location": "model.bitx", "offset": str(tensor.offset), "length": str(tensor.size),
        }  # fmt: skip


def test_what_onnx_loads_is_what_the_file_holds(bundle: Bundle) -> None:
    blob = bundle.data.read_bytes()
    tensors = {tensor.name: tensor for tensor in open_bitx(bundle.data).tensors}
    for initializer in onnx.load(bundle.graph).graph.initializer:
        tensor = tensors[initializer.name]
        assert initializer.raw_data == blob[tensor.offset : tensor.offset + tensor.size]


def test_every_op_of_ours_has_its_body_and_no_other(graph: onnx.ModelProto) -> None:
    used = {node.op_type for node in graph.graph.node if node.domain == DOMAIN}
    assert [function.name for function in graph.functions] == sorted(used)
    assert {function.domain for function in graph.functions} == {DOMAIN}


def test_versions_are_stated(graph: onnx.ModelProto) -> None:
    opsets = {entry.domain: entry.version for entry in graph.opset_import}
    assert opsets == {"": ONNX_OPSET, DOMAIN: DOMAIN_VERSION}
    assert (graph.ir_version, graph.producer_name) == (IR_VERSION, "bitexport")
    properties = {entry.key: entry.value for entry in graph.metadata_props}
    assert properties["bitexport.version"] == __version__
    assert properties["bitexport.family"] == "bitnet"


def test_it_says_what_it_costs_without_our_kernels(graph: onnx.ModelProto) -> None:
    properties = {entry.key: entry.value for entry in graph.metadata_props}
    sizes = [
        {each.name: each.i for each in node.attribute}
        for node in graph.graph.node
        if node.op_type.startswith("TernaryMatMul")
    ]
    unpacked = sum(each["n"] * each["k"] for each in sizes)
    assert properties["bitexport.without_kernels.unpacked_bytes"] == str(unpacked)
    assert "--onnx portable" in properties["bitexport.without_kernels"]
    classes = {
        node.op_type: {entry.key: entry.value for entry in node.metadata_props}
        for node in graph.graph.node
    }
    assert {each["bitexport.exactness"] for each in classes.values()} == {"bit-exact"}
    assert classes["Attend"]["bitexport.exactness.body"] == "near"
    assert classes["RmsNorm"]["bitexport.exactness.body"] == "bit-exact"
