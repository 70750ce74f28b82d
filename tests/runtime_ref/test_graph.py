"""graph: what the reference does not know, it names and refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import bitexport_ref
from bitexport_ref import graph
from bitexport_ref.errors import ReferenceFailure
from bitexport_ref.graph import read_graph
from bitexport_ref.layouts import LAYOUTS
from bitexport_ref.stored import StoredArray


def save(writer, folder):
    value = helper.make_tensor_value_info
    vector = [value(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")]
    return writer.save(folder, vector[:1], vector[1:])


@pytest.mark.parametrize(
    ("domain", "op_type", "shown"),
    [
        ("ai.bitexport", "SiluMul", "ai.bitexport::SiluMul"),
        ("ai.bitexport", "EmbedQ4", "ai.bitexport::EmbedQ4"),
        ("ai.bitexport", "TernaryMatMulP9B", "ai.bitexport::TernaryMatMulP9B"),
        ("ai.bitexport", "TernaryMatMulF32", "ai.bitexport::TernaryMatMulF32"),
        ("ai.bitexport", "TernaryMatMul", "ai.bitexport::TernaryMatMul"),
        ("ai.bitexport", "TernaryMatMulQ4R", "ai.bitexport::TernaryMatMulQ4R"),
        ("ai.bitexport", "TernaryMatMulp2r", "ai.bitexport::TernaryMatMulp2r"),
        ("ai.bitexport", "GroupMatMulInt8P2R", "ai.bitexport::GroupMatMulInt8P2R"),
        ("ai.bitexport", "GroupEmbed", "ai.bitexport::GroupEmbed"),
        ("ai.bitexport", "RmsNormP2R", "ai.bitexport::RmsNormP2R"),
        ("ai.bitexport", "QuantizeRowsInt8", "ai.bitexport::QuantizeRowsInt8"),
        ("ai.bitexport", "P2R", "ai.bitexport::P2R"),
        ("ai.bitexport", "Add", "ai.bitexport::Add"),
        ("ai.bitexport", "_2", "ai.bitexport::_2"),
        ("com.example", "RmsNorm", "com.example::RmsNorm"),
        ("", "RmsNorm", "RmsNorm"),
        ("", "Sigmoid", "Sigmoid"),
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
        ({"epsilon": 1e-5}, "no attribute `heads`"),
        ({"epsilon": 1e-5, "heads": 1, "axis": 1}, "unknown attribute `axis`"),
    ],
)
def test_an_attribute_that_is_not_known_is_named(attributes, message, graph_writer, tmp_path):
    weight = graph_writer.weight("w", np.ones(4, np.float32))
    graph_writer.op("RmsNorm", ["x", weight], "y", **attributes)
    with pytest.raises(ReferenceFailure, match=f"RmsNorm `y`: {message}"):
        read_graph(save(graph_writer, tmp_path))


@pytest.mark.parametrize("n", [0, -16, 16.0, "16"])
def test_a_size_that_is_none_is_named(n, graph_writer, tmp_path):
    weight = graph_writer.weight("w", np.zeros(64, np.uint8))
    graph_writer.op("TernaryMatMulP2R", ["x", weight], "y", n=n, k=16)
    with pytest.raises(ReferenceFailure, match="TernaryMatMulP2R `y`: attribute `n` is"):
        read_graph(save(graph_writer, tmp_path))


def specified_operators():
    """Return the operators that the table of NUMERICS.md, section 3, lists for model.onnx."""
    text = (Path(bitexport_ref.__file__).parents[1] / "NUMERICS.md").read_text(encoding="utf-8")
    table = text.partition("| operator | inputs | attributes |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.count("|") > 3]
    return [name for row in rows[1:] for name in row.replace(" ", "").split(",")]


def test_every_operator_that_is_specified_has_a_function():
    assert len(specified_operators()) >= 30
    for name in specified_operators():
        node = helper.make_node(name, [], ["y"], domain="ai.bitexport")
        function, layout = graph._find_op(Path("model.onnx"), node)
        assert callable(function)
        assert (layout is not None) == name.endswith(tuple(layout.upper() for layout in LAYOUTS))


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
        ({"location": "."}, "`.` cannot be read: Is a directory"),
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


def test_matrices_stay_in_their_file_and_vectors_are_read(language_model):
    weights = read_graph(language_model()).weights
    for name in ("table", "rope.cos", "layers.0.query.weight"):
        assert isinstance(weights[name], StoredArray), name
        assert not weights[name][:1].flags.writeable
    assert isinstance(weights["last.weight"], np.ndarray)
    assert not weights["last.weight"].flags.writeable
