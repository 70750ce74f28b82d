"""`bitexport build model.onnx`: what is wrong with it is one sentence, and nothing is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import Result
from tests.networks import Writer

Refuse = Callable[..., Result]
DATA = "weights.bin"


def write(folder: Path) -> Path:
    """Write a network of one layer whose weights lie in a file beside it."""
    writer = Writer()
    writer.op("MatMul", ["x", writer.tensor("w", writer.trits(300, 8))], "y")
    path = writer.save(folder / "model.onnx", ("n", 300))
    return change(path, lambda model: None)


def change(path: Path, edit: Callable[[onnx.ModelProto], None]) -> Path:
    """Edit a model where it lies; its weights are written beside it."""
    model = onnx.load(path)
    edit(model)
    (path.parent / DATA).unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=True, location=DATA)
    return path


def link(path: Path) -> None:
    data = path.parent / DATA
    data.rename(path.parent / "real.bin")
    data.symlink_to(path.parent / "real.bin")


def hard_link(path: Path) -> None:
    os.link(path.parent / DATA, path.parent / "second.bin")


def cut_short(path: Path) -> None:
    os.truncate(path.parent / DATA, 300)


def move_outside(path: Path) -> None:
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = f"../{DATA}"
    path.write_bytes(model.SerializeToString())


def of_a_new_opset(path: Path) -> None:
    change(path, lambda model: setattr(model.opset_import[0], "version", 99))


def of_a_new_ir(path: Path) -> None:
    change(path, lambda model: setattr(model, "ir_version", 99))


def of_open_shape(path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "columns"

    change(path, edit)


def of_an_unknown_op(path: Path) -> None:
    change(path, lambda model: setattr(model.graph.node[0], "op_type", "Einsum"))


def almost_ternary(path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        (tensor,) = model.graph.initializer
        weight = onnx.numpy_helper.to_array(tensor).copy()
        for row, factor in ((2, 1.02), (5, 0.97)):
            weight[np.flatnonzero(weight[:, row])[0], row] *= np.float32(factor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(weight, tensor.name))

    change(path, edit)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (link, f"tensor `w`: external data `{DATA}` is a symbolic link"),
        (hard_link, f"tensor `w`: external data `{DATA}` has a second hard link"),
        (cut_short, f"tensor `w`: bytes 0 to 9600 of `{DATA}`, which has 300"),
        (move_outside, f"tensor `w`: external data `../{DATA}` lies outside the model's folder"),
        (of_a_new_opset, "opset 99, the installed onnx"),
        (of_a_new_ir, "IR version 99, the installed onnx"),
        (of_open_shape, "input `x`: dimension 1, `columns`, has no fixed size"),
        (of_an_unknown_op, "`y` is a `Einsum`, which is not supported"),
        (almost_ternary, "`w` are almost ternary, but not quite: row 5 is off by 3 % of its scale"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_taken_is_exit_3(
    spoil: Callable[[Path], None], said: str, tmp_path: Path, refused: Refuse
) -> None:
    (tmp_path / "given").mkdir()
    path = write(tmp_path / "given")
    spoil(path)
    words = ["build", path, "--target", "host", "--no-library", "-o", tmp_path / "out"]
    refused(3, said, *words)
    assert [each.name for each in tmp_path.iterdir()] == ["given"]


def test_the_file_as_it_was_is_taken(tmp_path: Path, said: Callable[..., Result]) -> None:
    path = write(tmp_path)
    result = said("build", path, "--target", "host", "--no-library", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
