"""A tiny random language model, saved as the exporter saves one; NUMERICS.md in plain Python."""

from __future__ import annotations

import dataclasses
import math
import struct
import types
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

DTYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.uint16): TensorProto.BFLOAT16,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.uint8): TensorProto.UINT8,
}

FLOATS = {"F32": np.float32, "F16": np.float16}
LAYOUTS = {"P2R": (16, 4), "B1R": (32, 8), "Q4R": (8, 2)}
"""Rows of a tile, and how many weights a byte holds."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of a random model; odd ones on purpose."""

    vocab: int = 19
    hidden: int = 36
    middle: int = 52
    layers: int = 2
    heads: int = 3
    kv_heads: int = 1
    head_size: int = 12
    context: int = 40
    state: np.dtype[np.generic] = np.dtype(np.float16)  # noqa: RUF009 - a dtype never changes
    table: str = "Bf16"
    activations: str = "Rows"
    weights: str = "TernaryP2R"
    gate: str = "Relu"
    norm_heads: bool = False
    group: int = 16


class GraphWriter:
    """Collects nodes and weights, then saves model.onnx and the file its weights lie in."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.data = bytearray()

    def weight(self, name: str, array: NDArray[np.generic]) -> str:
        """Store an array as external data; uint16 stands for bf16."""
        self.data += bytes(-len(self.data) % 64)
        tensor = TensorProto(name=name, data_type=DTYPES[array.dtype], dims=array.shape)
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": "model.bitx", "offset": len(self.data), "length": array.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self.data += array.tobytes()
        self.initializers.append(tensor)
        return name

    def op(self, kind: str, inputs: list[str], outputs: str, **attributes: object) -> str:
        """Add a node; return its first output."""
        domain = "" if kind in ("Add", "Mul", "Relu", "Shape") else "ai.bitexport"
        named = outputs.split()
        self.nodes.append(helper.make_node(kind, inputs, named, domain=domain, **attributes))
        return named[0]

    def save(
        self, folder: Path, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
    ) -> Path:
        """Write both files; return the path of the graph."""
        graph = helper.make_graph(self.nodes, "random", inputs, outputs, self.initializers)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.bitexport", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        (folder / "model.bitx").write_bytes(self.data)
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        return folder / "model.onnx"


def write_language_model(folder: Path, shape: Shape, seed: int = 1) -> Path:  # noqa: PLR0912, PLR0915
    """Save a random model of the family that the exporter writes."""
    rng = np.random.default_rng(seed)
    writer = GraphWriter()

    def norm(x: str, name: str, columns: int = shape.hidden, heads: int = 1) -> str:
        weight = (1 + 0.1 * rng.standard_normal(columns // heads)).astype(np.float32)
        operands = [x, writer.weight(f"{name}.weight", weight)]
        return writer.op("RmsNorm", operands, f"{name}.y", epsilon=1e-5, heads=heads)

    def quantize(x: str) -> tuple[str, str, str]:
        """Return codes, their scale, and the low codes of 16 bits."""
        codes, scale, low = f"{x}.q", f"{x}.scale", f"{x}.low"
        match shape.activations:
            case "RowsInt16":
                writer.op("QuantizeRowsInt16", [x], f"{codes} {low} {scale}")
            case "Groups":
                writer.op("QuantizeGroups", [x], f"{codes} {scale}", group=shape.group)
            case kind:
                writer.op(f"Quantize{kind}", [x], f"{codes} {scale}")
        return codes, scale, low

    def product(x: tuple[str, str, str], name: str, n: int, k: int) -> str:
        codes, scale, low = x
        layout = LAYOUTS[shape.weights[-3:]]
        size = -(-n // layout[0]) * layout[0] * -(-k // 16) * 16 // layout[1]
        packed = writer.weight(f"{name}.weight", rng.integers(0, 256, size).astype(np.uint8))
        both = shape.activations == "RowsInt16"
        if shape.weights.startswith("Group"):
            groups = -(-k // shape.group)
            step = rng.uniform(0.05, 0.15, (groups, n)) / k**0.5
            operands = [codes, packed, writer.weight(f"{name}.scale", step.astype(np.float16))]
            kind = f"GroupMatMul{'Int16' if both else ''}{shape.weights[-3:]}"
            operands += [scale, low] if both else [scale]
            return writer.op(kind, operands, f"{name}.y", n=n, k=k, group=shape.group)
        kind = f"TernaryMatMul{shape.weights[-3:]}"
        sums = writer.op(kind, [codes, packed], f"{name}.sum", n=n, k=k)
        step = writer.weight(f"{name}.scale", np.array([0.1 / k**0.5], np.float32))
        if not both:
            return writer.op("Rescale", [sums, scale, step], f"{name}.y")
        low_sums = writer.op(kind, [low, packed], f"{name}.low_sum", n=n, k=k)
        return writer.op("RescaleInt16", [sums, scale, step, low_sums], f"{name}.y")

    d, half = shape.head_size, shape.head_size // 2
    angles = np.arange(shape.context)[:, None] * 10000.0 ** (-np.arange(half) / half)
    cos = writer.weight("rope.cos", np.cos(angles).astype(np.float32))
    sin = writer.weight("rope.sin", np.sin(angles).astype(np.float32))
    table = rng.standard_normal((shape.vocab, shape.hidden)).astype(np.float32)
    attributes: dict[str, int] = {}
    if shape.table == "Bf16":
        operands = [writer.weight("table", (table.view(np.uint32) >> 16).astype(np.uint16))]
    elif shape.table in ("F32", "F16"):
        operands = [writer.weight("table", table.astype(FLOATS[shape.table]))]
    elif shape.table == "Q8":
        operands = [
            writer.weight("table", np.rint(table * 30).clip(-127, 127).astype(np.int8)),
            writer.weight("table.scale", rng.uniform(0.02, 0.04, shape.vocab).astype(np.float32)),
        ]
    else:
        rows, per_byte = LAYOUTS[shape.table[-3:]]
        size = -(-shape.vocab // rows) * rows * -(-shape.hidden // 16) * 16 // per_byte
        groups = -(-shape.hidden // shape.group)
        step = rng.uniform(0.1, 0.2, (groups, shape.vocab)).astype(np.float32)
        operands = [
            writer.weight("table", rng.integers(0, 256, size).astype(np.uint8)),
            writer.weight("table.scale", step),
        ]
        attributes = {"n": shape.vocab, "k": shape.hidden, "group": shape.group}
    writer.op("Shape", ["past_key_values.0.key"], "past_length", start=2, end=3)
    embed = f"GroupEmbed{shape.table[-3:]}" if attributes else f"Embed{shape.table}"
    x = writer.op(embed, ["input_ids", *operands], "embed", **attributes)
    states = []
    for layer in range(shape.layers):
        at = f"layers.{layer}"
        codes = quantize(norm(x, f"{at}.norm"))
        turned = {}
        for name, heads in (("query", shape.heads), ("key", shape.kv_heads)):
            y = product(codes, f"{at}.{name}", heads * d, shape.hidden)
            if shape.norm_heads:
                y = norm(y, f"{at}.{name}.norm", heads * d, heads)
            turned[name] = writer.op(
                "Rope", [y, cos, sin, "past_length"], f"{at}.{name}.turned", heads=heads
            )
        turned["value"] = product(codes, f"{at}.value", shape.kv_heads * d, shape.hidden)
        present = []
        for name in ("key", "value"):
            states.append(f"{layer}.{name}")
            present.append(
                writer.op(
                    "AppendCache",
                    [f"past_key_values.{layer}.{name}", turned[name]],
                    f"present.{layer}.{name}",
                    heads=shape.kv_heads,
                )
            )
        seen = writer.op(
            "Attend",
            [turned["query"], *present],
            f"{at}.attend",
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            scale=d**-0.5,
        )
        y = product(quantize(seen), f"{at}.out", shape.hidden, shape.heads * d)
        x = writer.op("Add", [x, y], f"{at}.attended")
        codes = quantize(norm(x, f"{at}.ffn"))
        gate = product(codes, f"{at}.gate", shape.middle, shape.hidden)
        up = product(codes, f"{at}.up", shape.middle, shape.hidden)
        if shape.gate == "Silu":
            bent = writer.op("Silu", [gate], f"{at}.silu")
        else:
            relu = writer.op("Relu", [gate], f"{at}.relu")
            bent = writer.op("Mul", [relu, relu], f"{at}.squared")
        gated = writer.op("Mul", [bent, up], f"{at}.gated")
        codes = quantize(norm(gated, f"{at}.middle", shape.middle))
        y = product(codes, f"{at}.down", shape.hidden, shape.middle)
        x = writer.op("Add", [x, y], f"{at}.y")
    last = norm(x, "last")
    if shape.table == "Q8":
        writer.op("QuantizeRows", [last], "last.q last.q_scale")
        writer.op("DenseMatMulQ8", ["last.q", "table"], "logits.sum")
        writer.op("Rescale", ["logits.sum", "last.q_scale", "table.scale"], "logits")
    elif attributes:
        writer.op("QuantizeRowsInt16", [last], "last.q last.low last.q_scale")
        operands = ["last.q", "table", "table.scale", "last.q_scale", "last.low"]
        writer.op(f"GroupMatMulInt16{shape.table[-3:]}", operands, "logits", **attributes)
    else:
        writer.op(f"DenseMatMul{shape.table}", [last, "table"], "logits")

    kind = DTYPES[shape.state]
    dims = (1, shape.kv_heads)
    value = helper.make_tensor_value_info
    return writer.save(
        folder,
        [
            value("input_ids", TensorProto.INT64, [1, "sequence"]),
            *(value(f"past_key_values.{s}", kind, [*dims, "past", d]) for s in states),
        ],
        [
            value("logits", TensorProto.FLOAT, [1, "sequence", shape.vocab]),
            *(value(f"present.{s}", kind, [*dims, "total", d]) for s in states),
        ],
    )


@pytest.fixture
def language_model(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that saves a random language model of a shape."""
    return lambda **sizes: write_language_model(tmp_path, Shape(**sizes))


@pytest.fixture
def graph_writer() -> GraphWriter:
    """Return an empty graph."""
    return GraphWriter()


# ---- NUMERICS.md, one number at a time -------------------------------------------------------


def f32(number: float) -> float:
    """Round to f32.  One of + - * / sqrt in float64, then this, rounds as f32 does."""
    return float(struct.unpack("<f", struct.pack("<f", number))[0])


def f32_from_bits(bits: int) -> float:
    """Return the f32 that bits are."""
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def plain_lane_sum(terms: Sequence[float]) -> float:
    """Section 1, rule 4."""
    lane = [0.0] * 8
    for i, term in enumerate(terms):
        lane[i % 8] = f32(lane[i % 8] + term)
    left = f32(f32(lane[0] + lane[4]) + f32(lane[2] + lane[6]))
    right = f32(f32(lane[1] + lane[5]) + f32(lane[3] + lane[7]))
    return f32(left + right)


def plain_exp(x: float) -> float:
    """Section 2."""
    if x < -87:
        return 0.0
    if x > 88:
        return math.inf
    constant = float.fromhex
    n = f32(f32(f32(x * constant("0x1.715476p+0")) + constant("0x1.8p23")) - constant("0x1.8p23"))
    r = f32(x - f32(n * constant("0x1.62e4p-1")))
    r = f32(r - f32(n * constant("0x1.7f7d1cp-20")))
    p = constant("0x1.6d110ap-10")
    for c in ("0x1.120b6ep-7", "0x1.55551ap-5", "0x1.5554dcp-3", "0x1p-1"):
        p = f32(f32(p * r) + constant(c))
    y = f32(1 + f32(r + f32(f32(r * r) * p)))
    a = math.floor(n / 2)
    return f32(f32(y * 2.0**a) * 2.0 ** (n - a))


@pytest.fixture(scope="session")
def plain() -> types.SimpleNamespace:
    """Return the arithmetic of NUMERICS.md written with Python floats, for the ops' tests."""
    return types.SimpleNamespace(
        f32=f32, f32_from_bits=f32_from_bits, lane_sum=plain_lane_sum, exp=plain_exp
    )


@pytest.fixture(scope="session")
def same_bits() -> Callable[[object, object], None]:
    """Return a check that two f32 arrays are equal bit for bit; a list is rounded already."""

    def check(found: object, expected: object) -> None:
        left, right = np.asarray(found), np.asarray(expected, np.float32)
        assert left.dtype == np.float32
        assert left.shape == right.shape
        np.testing.assert_array_equal(left.view(np.uint32), right.view(np.uint32))

    return check
