"""graph: what the reference does not know, it names and refuses."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bitexport_ref.errors import ReferenceFailure
from bitexport_ref.graph import read_graph


def save(writer, folder):
    value = helper.make_tensor_value_info
    vector = [value(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")]
    return writer.save(folder, vector[:1], vector[1:])


@pytest.mark.parametrize(
    ("domain", "op_type", "shown"),
    [
        ("ai.bitexport", "SiluMul", "ai.bitexport::SiluMul"),
        ("ai.bitexport", "EmbedQ4", "ai.bitexport::EmbedQ4"),
        ("ai.bitexport", "TernaryMatMulP2B", "ai.bitexport::TernaryMatMulP2B"),
        ("ai.bitexport", "TernaryMatMulF32", "ai.bitexport::TernaryMatMulF32"),
        ("ai.bitexport", "Add", "ai.bitexport::Add"),
        ("ai.bitexport", "_2", "ai.bitexport::_2"),
        ("com.example", "RmsNorm", "com.example::RmsNorm"),
        ("", "RmsNorm", "RmsNorm"),
        ("", "Softmax", "Softmax"),
    ],
)
def test_an_op_that_is_not_known_is_named(domain, op_type, shown, graph_writer, tmp_path):
    graph_writer.nodes.append(helper.make_node(op_type, ["x"], ["y"], domain=domain))
    with pytest.raises(ReferenceFailure, match=f"does not know the op `{shown}` that writes `y`"):
        read_graph(save(graph_writer, tmp_path))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({}, "no attribute `epsilon`"),
        ({"epsilon": 1e-5, "axis": 1}, "unknown attribute `axis`"),
    ],
)
def test_an_attribute_that_is_not_known_is_named(attributes, message, graph_writer, tmp_path):
    weight = graph_writer.weight("w", np.ones(4, np.float32))
    graph_writer.op("RmsNorm", ["x", weight], "y", **attributes)
    with pytest.raises(ReferenceFailure, match=f"RmsNorm `y`: {message}"):
        read_graph(save(graph_writer, tmp_path))


def test_every_op_type_of_the_product_is_found(language_model):
    for table in ("F32", "Bf16", "Q8"):
        assert read_graph(language_model(table=table)).steps


def test_a_version_of_the_domain_that_is_not_known_is_refused(graph_writer, tmp_path):
    graph_writer.op("Relu", ["x"], "y")
    path = save(graph_writer, tmp_path)
    model = onnx.load(path)
    model.opset_import[1].version = 2
    onnx.save(model, path)
    with pytest.raises(ReferenceFailure, match=r"version 2 of domain ai\.bitexport"):
        read_graph(path)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("z", "y")], "Relu reads `z`, which nothing wrote before"),
        ([("x", "y"), ("x", "y")], "Relu writes `y` a second time"),
        ([("x", "x")], "Relu writes `x` a second time"),
        ([("x", "z")], "nothing writes the output `y`"),
    ],
)
def test_wiring_that_is_not_sound_is_refused(nodes, message, graph_writer, tmp_path):
    for read, written in nodes:
        graph_writer.op("Relu", [read], written)
    with pytest.raises(ReferenceFailure, match=message):
        read_graph(save(graph_writer, tmp_path))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"offset": "1"}, "bytes 1 to 17 are outside model.bitx"),
        ({"offset": "99999999999999999999"}, "are outside model.bitx"),
        ({"offset": "-16"}, "without a sound offset and length"),
        ({"length": "12"}, "has 12 bytes, its shape and dtype ask for 16"),
        ({"location": "absent.bin"}, "`absent.bin` cannot be read: No such file"),
        ({"location": "../model.bitx"}, "is not a file beside the model"),
        ({"location": "/etc/hostname"}, "is not a file beside the model"),
        ({"location": ""}, "is not a file beside the model"),
    ],
)
def test_external_data_that_is_not_there_names_file_and_tensor(
    place, message, graph_writer, tmp_path
):
    graph_writer.weight("w", np.ones(4, np.float32))
    graph_writer.op("Add", ["x", "w"], "y")
    for entry in graph_writer.initializers[0].external_data:
        entry.value = place.get(entry.key, entry.value)
    path = save(graph_writer, tmp_path)
    with pytest.raises(ReferenceFailure) as failure:
        read_graph(path)
    assert f"{path}: tensor `w`" in str(failure.value)
    assert message in str(failure.value)


@pytest.mark.parametrize("raw", [True, False])
def test_weights_inside_the_graph_are_read_too(raw, graph_writer, tmp_path):
    values = np.arange(4, dtype=np.float32)
    data = values.tobytes() if raw else values
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [4], data, raw=raw)
    graph_writer.initializers.append(tensor)
    graph_writer.op("Add", ["x", "w"], "y")
    np.testing.assert_array_equal(read_graph(save(graph_writer, tmp_path)).weights["w"], values)


def test_a_dtype_that_is_not_known_is_named(graph_writer, tmp_path):
    graph_writer.initializers.append(helper.make_tensor("w", TensorProto.DOUBLE, [1], [1.0]))
    graph_writer.op("Relu", ["x"], "y")
    with pytest.raises(ReferenceFailure, match="tensor `w` has dtype DOUBLE"):
        read_graph(save(graph_writer, tmp_path))


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", None])
def test_a_file_that_is_no_graph_is_named(data, tmp_path):
    path = tmp_path / "model.onnx"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ReferenceFailure, match=r"model\.onnx: not a readable ONNX file"):
        read_graph(path)


def test_weights_are_not_copied_and_not_writable(language_model):
    weights = read_graph(language_model()).weights
    assert not weights["table"].flags.writeable
    assert not weights["table"].flags.owndata
