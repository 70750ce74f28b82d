"""From nodes to ops of the plan: what becomes what, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper
from tests.networks import DATA, Writer, write_pictures, write_rows
from tests.qonnx_oracle import Oracle

from bitexport.checkpoints.onnx_file import read_onnx
from bitexport.errors import CheckpointError
from bitexport.models.network.importing import build_network
from bitexport.models.parts.options import Options
from bitexport.models.parts.stored import stored_matrices
from bitexport.passes.pipeline import lower


def graph(path: Path, **options: Any) -> ir.Model:
    """Return the graph of a file."""
    return build_network(read_onnx(path), Options(**options))[0]


def ops(path: Path, **options: Any) -> list[str]:
    """Return the ops that a file becomes; they are lowered too."""
    model = graph(path, **options)
    found = [node.op_type for node in model.graph]
    lower(model, "p2r")
    return found


def refused(path: Path, **options: Any) -> str:
    """Return the one sentence by which a file is refused."""
    with pytest.raises(CheckpointError) as caught:
        graph(path, **options)
    said = str(caught.value)
    assert said.startswith((str(path), "--"))
    assert "\n" not in said
    assert caught.value.hint
    return said


def one_layer(tmp_path: Path, weight: np.ndarray[Any, Any], **said: Any) -> Path:
    """Write a network of one MatMul."""
    writer = Writer()
    writer.op("MatMul", ["x", writer.tensor("w", weight)], "y")
    return writer.save(tmp_path / "layer.onnx", said.pop("shape", ("n", len(weight))), **said)


def test_a_quantized_network_computes_with_integers_alone() -> None:
    body = ["TernaryMatMul", "ThresholdS32"]
    for name in ("TFC_1W1A", "TFC_1W2A", "TFC_2W2A"):
        expected = ["Threshold", *body, *body, *body, "TernaryMatMul", "AffineS32"]
        assert ops(DATA / f"{name}.onnx") == expected


def test_binary_weights_take_one_bit() -> None:
    model = graph(DATA / "TFC_1W2A.onnx")
    lower(model, "p2r")
    packed = [each.layout for each in stored_matrices(model).values() if each.layout != "plain"]
    assert packed == ["b1r"] * 4


def test_rows_of_falling_steps_are_turned_and_not_computed_again() -> None:
    matrices = stored_matrices(graph(DATA / "TFC_2W2A.onnx"))
    file = read_onnx(DATA / "TFC_2W2A.onnx")
    factor, trits = file.tensors["features.3.weight"], file.tensors["41"]
    found = matrices["46.weight"].matrix.read_rows(0, 64)
    assert (factor < 0).any()
    signs = np.where(factor < 0, -1, 1)[:, None]
    np.testing.assert_array_equal(found, np.sign(trits) * (np.abs(trits) > 0.5) * signs)


def test_every_row_kind_of_a_network_of_pictures_is_fixed(tmp_path: Path) -> None:
    model = graph(write_pictures(tmp_path / "m.onnx"))
    assert {str(value.shape[0]) for node in model.graph for value in node.outputs} == {"1"}  # type: ignore[index]
    model = graph(write_rows(tmp_path / "m.onnx"))
    shapes = [value.shape for node in model.graph for value in node.outputs]
    assert {str(shape[0]) for shape in shapes if shape} == {"batch"}


@pytest.mark.parametrize("kind", ["INT2", "UINT2", "INT4"])
def test_small_integers_times_a_scale_are_trits(kind: str, tmp_path: Path) -> None:
    number, shift = getattr(TensorProto, kind), kind.startswith("U")
    values = Writer().draw.integers(-1, 2, (12, 5))
    writer = Writer()
    writer.tensors.append(
        helper.make_tensor("w", number, values.shape, (values + shift).ravel().tolist())
    )
    writer.tensors.append(helper.make_tensor("zero", number, [1], [int(shift)]))
    scale = writer.tensor("scale", writer.draw.uniform(0.5, 2, 5))
    writer.tensors.append(helper.make_tensor("zeros", number, [5], [int(shift)] * 5))
    writer.op("DequantizeLinear", ["w", scale, "zeros"], "wide", axis=1)
    writer.op("MatMul", ["x", "wide"], "y")
    model = graph(writer.save(tmp_path / "m.onnx", ("n", 12), opset=25, ir_version=13))
    found = stored_matrices(model)["y.product.weight"].matrix.read_rows(0, 5)
    np.testing.assert_array_equal(found, values.T)


def test_codes_of_quantize_and_dequantize_linear_are_codes(tmp_path: Path) -> None:
    writer = Writer()
    scale = writer.tensor("s", np.float32(0.125))
    zero = writer.tensor("z", np.uint8(128))
    x = writer.op("QuantizeLinear", ["x", scale, zero], "q")
    x = writer.op("DequantizeLinear", [x, scale, zero], "x.codes")
    writer.op("MatMul", [x, writer.tensor("w", writer.trits(6, 4))], "y")
    found = ops(writer.save(tmp_path / "m.onnx", ("n", 6)))
    assert found == ["QuantizeFixed", "TernaryMatMul", "AffineS32"]


@pytest.mark.parametrize(("scale", "zero"), [(0.25, 128), (0.125, 127)])
def test_dequantize_linear_must_undo_what_was_done(scale: float, zero: int, tmp_path: Path) -> None:
    writer = Writer()
    numbers = [writer.tensor("s", np.float32(0.125)), writer.tensor("z", np.uint8(128))]
    others = [writer.tensor("s2", np.float32(scale)), writer.tensor("z2", np.uint8(zero))]
    x = writer.op("QuantizeLinear", ["x", *numbers], "q")
    x = writer.op("DequantizeLinear", [x, *others], "x.codes")
    writer.op("MatMul", [x, writer.tensor("w", writer.trits(6, 4))], "y")
    said = refused(writer.save(tmp_path / "m.onnx", ("n", 6)))
    assert "does not undo the QuantizeLinear before it" in said


def test_floats_are_rounded_as_asked(tmp_path: Path) -> None:
    path = one_layer(tmp_path, Writer().trits(20, 6))
    assert ops(path)[0] == "QuantizeRowsInt16"
    assert ops(path, activations="int8") == ["QuantizeRows", "TernaryMatMul", "Rescale"]
    assert ops(path, activations="int8-group") == ["QuantizeGroups", "GroupMatMul"]


def test_a_layer_stays_floats_where_that_is_asked(tmp_path: Path) -> None:
    path = one_layer(tmp_path, Writer().draw.standard_normal((6, 4)))
    assert ops(path, precision=(("y", "f32"),)) == ["DenseMatMulF32"]
    assert "lose bits as f16" in refused(path, precision=(("*", "f16"),))
    assert "no layer of" in refused(path, precision=(("y", "f32"), ("other", "f32")))
    assert "stay f32 or f16" in refused(path, precision=(("y", "q8"),))


def test_three_bits_are_refused_with_the_layer(tmp_path: Path) -> None:
    writer = Writer()
    given = writer.tensor("w", writer.draw.standard_normal((6, 4)))
    weight = writer.quant(given, "rounded", 0.3, 3, signed=1)
    writer.op("MatMul", ["x", weight], "the_layer")
    said = refused(writer.save(tmp_path / "m.onnx", ("n", 6), ("the_layer",)))
    assert "MatMul `the_layer`: its weights `rounded`, a Quant of 3 bits, are not ternary" in said


def test_almost_ternary_weights_are_refused_with_their_rows(tmp_path: Path) -> None:
    weight = np.where(Writer().draw.random((30, 3)) < 0.5, 1, -1) * np.float32(0.5)
    weight[4, 1] *= np.float32(1.02)
    said = refused(one_layer(tmp_path, weight))
    assert "MatMul `y`: its weights `w` are almost ternary" in said
    assert "row 1 is off by 1.9 % of its scale" in said


def test_a_weight_that_is_no_number_is_refused(tmp_path: Path) -> None:
    weight = Writer().trits(6, 4)
    weight[2, 3] = np.nan
    assert "its second input holds a NaN" in refused(one_layer(tmp_path, weight))


@pytest.mark.parametrize(
    ("shape", "said"),
    [(("n", "m"), "dimension 1, `m`, has no fixed size"), ((3, 6), "fixed batch of 3"),
     (("n",), "has 1 dimensions")],
)  # fmt: skip
def test_inputs_that_are_open_are_refused(
    shape: tuple[int | str, ...], said: str, tmp_path: Path
) -> None:
    assert said in refused(one_layer(tmp_path, Writer().trits(6, 4), shape=shape))


def test_an_unknown_operator_is_refused_by_name(tmp_path: Path) -> None:
    writer = Writer()
    writer.op("Erf", ["x"], "odd")
    writer.op("MatMul", ["odd", writer.tensor("w", writer.trits(6, 4))], "y")
    assert "`odd` is a `Erf`, which is not supported" in refused(
        writer.save(tmp_path / "m.onnx", ("n", 6))
    )
    writer = Writer()
    writer.op("Thing", ["x"], "y", domain="somebody.else")
    said = refused(writer.save(tmp_path / "m.onnx", ("n", 6)))
    assert "`y` is a `somebody.else::Thing`" in said


PICTURE = ("n", 2, 6, 6)
KERNEL = {"kernel_shape": [2, 2]}


@pytest.mark.parametrize(
    ("kind", "constants", "attributes", "shape", "said"),
    [
        ("MaxPool", [], KERNEL | {"dilations": [2, 2]}, PICTURE, "has dilations"),
        ("MaxPool", [], KERNEL, ("n", 6), "is no picture"),
        ("MaxPool", [], KERNEL | {"ceil_mode": 1, "strides": [5, 5]}, PICTURE, "ceil_mode"),
        ("MaxPool", [], {"kernel_shape": [9, 9]}, PICTURE, "does not fit a picture"),
        ("AveragePool", [], KERNEL | {"pads": [1, 1, 1, 1], "count_include_pad": 1}, PICTURE,
         "counts padding"),
        ("Conv", [np.ones((4, 3, 1, 1))], {}, PICTURE, "for 2 channels"),
        ("Conv", [np.ones((4, 2, 1))], {}, PICTURE, "weights [4, 2, 1] for what has"),
        ("MatMul", [np.ones((5, 4))], {}, ("n", 6), "weights [4, 5] for what has shape [1, 6]"),
        ("Gemm", [np.ones((6, 4)), np.ones(3)], {}, ("n", 6), "a bias of shape [3]"),
        ("Gemm", [np.ones((6, 4))], {"transA": 1}, ("n", 6), "transposes what flows"),
        ("Add", [np.ones((7,))], {}, ("n", 6), "does not go with each channel"),
        ("Div", [np.zeros(1)], {}, ("n", 6), "divides by 0"),
        ("Mul", [np.array([np.inf])], {}, ("n", 6), "holds a NaN or an infinity"),
        ("Clip", [np.float64(0), np.float64(6)], {}, ("n", 6), "is clipped and then not"),
        ("Softmax", [], {"axis": 1}, ("n", 6, 2), "not over all that a sample has"),
        ("ReduceMean", [np.array([1])], {}, ("n", 6), "not over height and width"),
        ("Reshape", [np.array([3, 2])], {}, ("n", 6), "the batch stays|sample by sample"),
        ("ArgMax", [], {"axis": 1}, ("n", 6), "`y` is a `ArgMax`"),
    ],
)  # fmt: skip
def test_what_a_node_asks_too_much_is_said(
    kind: str, constants: list[Any], attributes: dict[str, Any], shape: tuple[int | str, ...],
    said: str, tmp_path: Path,
) -> None:  # fmt: skip
    writer = Writer()
    names = [writer.tensor(f"c{at}", each) for at, each in enumerate(constants)]
    writer.op(kind, ["x", *names], "y", **attributes)
    found = refused(writer.save(tmp_path / "m.onnx", shape))
    assert any(each in found for each in said.split("|")), found


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"scale": -1.0}, "its scale is -1"), ({"zero": 1.0}, "its zero point is 1"),
     ({"bits": 9.0}, "codes from -256 to 255 do not fit int8"), ({"bits": 2.5}, "2.5 bits"),
     ({"scale": [1.0, 2.0]}, "its scale is not one number"),
     ({"mode": "FLOOR"}, "its rounding_mode is FLOOR")],
)  # fmt: skip
def test_a_quantizer_that_is_not_ours_is_refused(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    numbers = {"scale": 1.0, "zero": 0.0, "bits": 4.0} | changes
    mode = numbers.pop("mode", "ROUND")
    writer = Writer()
    given = [writer.tensor(name, np.array(value, np.float32)) for name, value in numbers.items()]
    writer.op("Quant", ["x", *given], "codes", "qonnx.custom_op.general", rounding_mode=mode,
              signed=1, narrow=0)  # fmt: skip
    writer.op("MatMul", ["codes", writer.tensor("w", writer.trits(6, 4))], "y")
    assert said in refused(writer.save(tmp_path / "m.onnx", ("n", 6)))


def test_options_of_language_models_are_refused(tmp_path: Path) -> None:
    path = one_layer(tmp_path, Writer().trits(6, 4))
    for options in ({"context": 5}, {"embedding": "q8"}, {"ternarize": "absmean"}):
        name = next(iter(options))
        assert f"--{name} is for language models" in refused(path, **options)
    assert "--kv-cache is for language models" in refused(path, cache="f32")


def test_an_output_without_input_is_refused(tmp_path: Path) -> None:
    writer = Writer()
    writer.op("Relu", [writer.tensor("c", np.ones(3))], "y")
    assert "does not depend on an input" in refused(writer.save(tmp_path / "m.onnx", ("n", 3)))


def test_the_oracle_is_the_original(tmp_path: Path) -> None:
    """A BipolarQuant and a Quant by hand."""
    writer = Writer()
    writer.quant(writer.bipolar("x", "signs", 3.0), "y", 2.0, 2, signed=1, narrow=1)
    found = Oracle(writer.save(tmp_path / "m.onnx", ("n", 3))).run(
        x=np.array([[-1, 0, 2]], np.float32)
    )
    assert found.tolist() == [[-2, 2, 2]]
