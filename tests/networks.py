"""Random networks as ONNX files: every operator that is read, small, seeded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

DATA = Path(__file__).parent / "data" / "networks"
QONNX = "qonnx.custom_op.general"


class Writer:
    """An ONNX graph under construction; nodes are called as what they make."""

    def __init__(self, seed: int = 1) -> None:
        self.draw = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[TensorProto] = []

    def tensor(self, name: str, values: Any) -> str:
        """Add a constant; floats are float32."""
        array = np.asarray(values)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        self.tensors.append(numpy_helper.from_array(array, name))
        return name

    def op(self, kind: str, inputs: list[str], name: str, domain: str = "", **said: Any) -> str:
        """Add a node with one output."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name, domain=domain, **said))
        return name

    def trits(self, *shape: int, scale: float = 0.5) -> NDArray[np.float32]:
        """Return ternary weights, a row without any among them."""
        values = self.draw.integers(-1, 2, shape).astype(np.float32) * np.float32(scale)
        values[-1] = 0
        return values

    def quant(
        self, x: str, name: str, scale: float, bits: int, *, signed: int, narrow: int = 0
    ) -> str:
        """Add a QONNX Quant."""
        given = [self.tensor(f"{name}.{at}", np.float32(each))
                 for at, each in enumerate((scale, 0, bits))]  # fmt: skip
        return self.op("Quant", [x, *given], name, QONNX, signed=signed, narrow=narrow,
                       rounding_mode="ROUND")  # fmt: skip

    def bipolar(self, x: str, name: str, scale: float) -> str:
        """Add a QONNX BipolarQuant."""
        return self.op("BipolarQuant", [x, self.tensor(f"{name}.0", np.float32(scale))], name,
                       QONNX)  # fmt: skip

    def norm(self, x: str, name: str, channels: int) -> str:
        """Add a BatchNormalization; some of its factors are negative, one is 0."""
        numbers = self.draw.standard_normal((4, channels))
        numbers[0, 0], numbers[3] = 0, np.abs(numbers[3]) + 0.5
        given = [self.tensor(f"{name}.{at}", each) for at, each in enumerate(numbers)]
        return self.op("BatchNormalization", [x, *given], name, epsilon=1e-5)

    def save(
        self, path: Path, shape: tuple[int | str, ...], outputs: tuple[str, ...] = ("y",), *,
        opset: int = 21, ir_version: int = 10,
    ) -> Path:  # fmt: skip
        """Write the network; its input is x."""
        graph = helper.make_graph(
            self.nodes, "network", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.tensors,
        )  # fmt: skip
        imports = [helper.make_opsetid("", opset), helper.make_opsetid(QONNX, 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=ir_version)
        path.write_bytes(model.SerializeToString())
        return path


def write_rows(path: Path, seed: int = 1) -> Path:
    """Write a network of rows: codes of every kind, floats, two outputs; batches of any size."""
    w = Writer(seed)
    x = w.op("Sub", [w.op("Mul", ["x", w.tensor("two", np.float32(2))], "doubled"),
                     w.tensor("half", np.float32(0.5))], "moved")  # fmt: skip
    x = w.op("Flatten", [x], "flat", axis=1)
    x = w.quant(x, "codes", 0.25, 3, signed=1)
    x = w.op("MatMul", [x, w.tensor("w1", w.trits(50, 37))], "first")
    x = w.bipolar(w.norm(x, "first.norm", 37), "signs", 0.5)
    weight = w.quant(w.tensor("w2", w.draw.standard_normal((21, 37))), "w2.trits", 1.25, 2,
                     signed=1, narrow=1)  # fmt: skip
    bias = w.tensor("b2", w.draw.standard_normal(21))
    x = w.op("Gemm", [x, weight, bias], "second", transB=1)
    x = w.op("Clip", [x, w.tensor("low", np.float32(-3)), w.tensor("high", np.float32(3))], "bound")
    x = w.quant(w.op("Relu", ["second"], "positive"), "sevens", 1 / 16, 7, signed=0)
    few = w.quant("bound", "few", 0.5, 4, signed=1)
    third = w.op("MatMul", [x, w.tensor("w3", w.trits(21, 10))], "third")
    fourth = w.op("MatMul", [few, w.tensor("w4", np.where(w.trits(21, 10) > 0, 0.75, -0.75))],
                  "fourth")  # fmt: skip
    mixed = w.op("Sub", [third, w.op("Identity", [fourth], "same")], "mixed")
    w.op("Softmax", [mixed], "y", axis=-1)
    floats = w.op("MatMul", [mixed, w.tensor("w5", w.trits(10, 6))], "floats")
    w.op("Div", [floats, w.tensor("by", w.draw.uniform(1, 2, 6))], "z")
    return w.save(path, ("n", 2, 25), ("y", "z"))


def write_pictures(path: Path, seed: int = 1) -> Path:
    """Write a network of pictures: every window, groups, a residual, means."""
    w = Writer(seed)
    x = w.quant("x", "pixels", 0.125, 4, signed=1)
    x = w.op("Conv", [x, w.tensor("w1", w.trits(8, 3, 3, 2))], "first", strides=[1, 2],
             pads=[1, 0, 1, 1])  # fmt: skip
    x = w.quant(w.op("Relu", [w.norm(x, "first.norm", 8)], "rectified"), "few", 0.5, 2, signed=0)
    depthwise = w.op("Conv", [x, w.tensor("w2", w.trits(8, 1, 3, 3))], "depthwise", group=8,
                     auto_pad="SAME_UPPER")  # fmt: skip
    x = w.bipolar(depthwise, "signs", 0.25)
    bias = w.tensor("b3", w.draw.standard_normal(12))
    grouped = w.op("Conv", [x, w.tensor("w3", w.trits(12, 4, 1, 1)), bias], "grouped", group=2)
    x = w.quant(grouped, "codes", 0.25, 3, signed=1)
    largest = w.op("MaxPool", [x], "largest", kernel_shape=[2, 2], strides=[2, 1],
                   pads=[1, 0, 0, 1])  # fmt: skip
    dilated = w.op("Conv", [largest, w.tensor("w4", w.trits(12, 12, 3, 3))], "dilated",
                   dilations=[1, 2], pads=[1, 2, 1, 2])  # fmt: skip
    added = w.op("Add", [dilated, largest], "added")
    w.op("AveragePool", [added], "means", kernel_shape=[2, 3], pads=[0, 1, 0, 1])
    rows = w.op("Conv", ["means", w.tensor("w5", w.trits(5, 12, 2, 2))], "of_floats")
    w.op("GlobalMaxPool", [rows], "top")
    w.op("Flatten", ["top"], "z", axis=1)
    flat = w.op("Reshape", [w.quant(rows, "last", 0.37, 3, signed=1),
                            w.tensor("shape", np.array([0, -1], np.int64))], "flat")  # fmt: skip
    columns = 5 * 2 * 4
    w.op("MatMul", [flat, w.tensor("w6", w.trits(columns, 7))], "y")
    return w.save(path, ("n", 3, 7, 9), ("y", "z"))
