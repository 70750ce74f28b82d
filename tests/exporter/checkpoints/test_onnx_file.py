"""ONNX files: what is read, and what is refused in one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.networks import DATA, Writer, write_rows

from bitexport.checkpoints.onnx_file import is_onnx, read_onnx
from bitexport.errors import CheckpointError

WEIGHT = np.array([[1, 0, -1, 1], [0, 1, 1, -1]], np.float32)


def external(folder: Path, *, constant: bool = False, **places: str | int) -> Path:
    """Write a model whose one weight, or the value of a Constant, lies in a file beside it."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=WEIGHT.shape)
    tensor.data_location = TensorProto.EXTERNAL
    said = {"location": "w.bin", "offset": 0, "length": WEIGHT.nbytes, **places}
    for key, value in said.items():
        tensor.external_data.add(key=key, value=str(value))
    (folder / "w.bin").write_bytes(WEIGHT.tobytes())
    writer = Writer()
    if constant:
        writer.op("Constant", [], "w", value=tensor)
    else:
        writer.tensors.append(tensor)
    writer.op("MatMul", ["x", "w"], "y")
    return writer.save(folder / "model.onnx", ("n", 2))


def refused(path: Path) -> str:
    """Return the one sentence by which a file is refused."""
    with pytest.raises(CheckpointError) as caught:
        read_onnx(path)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return str(caught.value)


def test_constants_are_read_wherever_they_lie(tmp_path: Path) -> None:
    file = read_onnx(external(tmp_path))
    np.testing.assert_array_equal(file.tensors["w"], WEIGHT)
    assert set(file.digests()) == {"model.onnx", "w.bin"}
    assert read_onnx(DATA / "TFC_2W2A.onnx").opset == 9


def test_the_value_of_a_constant_lies_beside_the_model_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/w.bin").write_bytes(bytes(WEIGHT.nbytes))
    monkeypatch.chdir(tmp_path / "elsewhere")
    file = read_onnx(external(tmp_path, constant=True))
    value = file.graph.node[0].attribute[0].t
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(value), WEIGHT)
    assert set(file.digests()) == {"model.onnx", "w.bin"}
    assert "value of `w`: external data `../w.bin` lies outside" in refused(
        external(tmp_path, constant=True, location="../w.bin")
    )


@pytest.mark.parametrize("kind", ["INT2", "UINT2", "INT4", "INT8"])
def test_small_integers_are_numbers(kind: str, tmp_path: Path) -> None:
    number = getattr(TensorProto, kind)
    values = [0, 1, 1, 0, 1]
    writer = Writer()
    writer.tensors.append(helper.make_tensor("w", number, [5], values))
    writer.op("Identity", ["x"], "y")
    path = writer.save(tmp_path / "model.onnx", ("n", 2))
    assert read_onnx(path).tensors["w"].astype(int).tolist() == values


def test_a_model_is_told_by_what_it_holds(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "network")
    assert is_onnx(path)
    (tmp_path / "text").write_bytes(b"\x08 is how it begins")
    assert not is_onnx(tmp_path / "text")
    assert not is_onnx(tmp_path)
    (tmp_path / "model.onnx").write_text("no model")
    assert is_onnx(tmp_path / "model.onnx")
    assert "not a readable ONNX file" in refused(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("opset", "ir_version", "said"),
    [(99, 10, "opset 99"), (6, 10, "opset 6"), (21, 99, "IR version 99")],
)
def test_versions_that_are_not_known_are_refused(
    opset: int, ir_version: int, said: str, tmp_path: Path
) -> None:
    writer = Writer()
    writer.op("Relu", ["x"], "y")
    path = writer.save(tmp_path / "m.onnx", ("n", 2), opset=opset, ir_version=ir_version)
    assert said in refused(path)


def test_data_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes()[:-1])
    assert "bytes 0 to 32 of `w.bin`, which has 31" in refused(path)


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "w.bin").rename(tmp_path / "real.bin")
    (tmp_path / "w.bin").symlink_to(tmp_path / "real.bin")
    assert "is a symbolic link" in refused(path)


def test_a_folder_that_is_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    path = external(tmp_path, location="below/w.bin")
    (tmp_path / "real").mkdir()
    (tmp_path / "w.bin").rename(tmp_path / "real/w.bin")
    (tmp_path / "below").symlink_to(tmp_path / "real")
    assert "is a symbolic link" in refused(path)


def test_a_second_hard_link_is_refused(tmp_path: Path) -> None:
    path = external(tmp_path)
    os.link(tmp_path / "w.bin", tmp_path / "other")
    assert "has a second hard link" in refused(path)


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "", "a/../../w.bin"])
def test_data_outside_the_folder_is_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert "lies outside the model's folder" in refused(
        external(tmp_path / "in", location=location)
    )


def test_data_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refused(external(tmp_path, location="gone.bin"))


@pytest.mark.parametrize(
    ("places", "said"),
    [({"length": 31}, "31 bytes of external data"), ({"offset": -1}, "offset '-1'"),
     ({"offset": 4}, "bytes 4 to 36")],
)  # fmt: skip
def test_places_that_do_not_fit_are_refused(
    places: dict[str, int], said: str, tmp_path: Path
) -> None:
    assert said in refused(external(tmp_path, **places))


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "w.bin").unlink()
    os.mkfifo(tmp_path / "w.bin")
    assert "is no plain file" in refused(path)


def test_a_tensor_of_other_bytes_is_refused(tmp_path: Path) -> None:
    writer = Writer()
    writer.tensors.append(TensorProto(name="w", data_type=1, dims=[3], raw_data=b"12345"))
    writer.op("Relu", ["x"], "y")
    assert "tensor `w`: its bytes" in refused(writer.save(tmp_path / "m.onnx", ("n", 3)))


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    writer = Writer()
    writer.op("Twice", ["x"], "y", domain="mine")
    model = onnx.load(writer.save(tmp_path / "m.onnx", ("n", 3)))
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    imports = [helper.make_opsetid("", 21)]
    model.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], body, imports))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    onnx.save(model, tmp_path / "m.onnx")
    assert [node.op_type for node in read_onnx(tmp_path / "m.onnx").graph.node] == ["Add"]
