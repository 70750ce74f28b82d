"""A decode step of a language model as a .tflite, bit-exact or near.

`custom` is one op, ai.bitexport.Plan, around the whole model.bitx, of a network too: a delegate of
ours runs it with the C runtime, to the bit.  `int2` and `int8` are ops that every LiteRT has, with
ternary weights as 2-bit or 8-bit integers: FULLY_CONNECTED quantizes its input by itself, so they
are near.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bitexport.checkpoints.matrix import Kind
from bitexport.emit.tflite import CODES_OF_A_BYTE, MOST_BYTES, TfliteGraph
from bitexport.errors import CheckpointError
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.stored import StoredMatrix, stored_in, stored_matrices
from bitexport.ops import attributes_of, forms
from bitexport.passes.plan import Plan, Role

TfliteFlavour = Literal["custom", "int2", "int8"]

PLAN_OP = "ai.bitexport.Plan"
FILES: Mapping[TfliteFlavour, str] = {
    "custom": "model_custom.tflite", "int2": "model_int2_near.tflite",
    "int8": "model_int8_near.tflite",
}  # fmt: skip
EXACTNESS: Mapping[TfliteFlavour, str] = {
    "custom": "bit-exact with the delegate of bitexport",
    "int2": "near: not bit-exact",
    "int8": "near: not bit-exact",
}
FAR = np.float32(-1e9)
"""Added to the scores of positions that are not there yet."""
INT2_VERSION, INT8_VERSION = 14, 3
"""Of FULLY_CONNECTED: the first with float inputs and such weights."""
HALVES = 2
PLAN_DTYPES: Mapping[int, str] = {1: "FLOAT32", 4: "INT8", 5: "UINT8", 6: "INT32"}
"""Dtypes of FORMAT.md, section 3.2, that may be at the ends of a plan."""

Array = NDArray[Any]
Port = tuple[tuple[int, ...], str]
"""Shape and dtype of an input or output."""


def write_custom(path: Path, data: Path, plan: Plan, about: Mapping[str, str]) -> None:
    """Write a plan as one op around its finished model.bitx: of a language model, a step."""
    _refuse_too_large("custom", data.stat().st_size)
    graph = TfliteGraph()
    if plan.is_language_model:
        ports: dict[str, Port] = dict.fromkeys(("input_ids", "position"), ((1,), "INT32"))
    else:
        ports = _ports(plan, Role.INPUT)
    inputs = {name: graph.tensor(name, *of) for name, of in ports.items()}
    blob = graph.file("model.bitx", data)
    outputs = graph.custom_op(PLAN_OP, [blob, *inputs.values()], _ports(plan, Role.OUTPUT))
    said = {**about, "flavour": "custom", "exactness": EXACTNESS["custom"]}
    graph.write(path, inputs, outputs, said)


def refuse_near(model: ir.Model, facts: Facts, flavour: TfliteFlavour) -> None:
    """Refuse by name what ops of LiteRT cannot say."""
    hint = "--tflite custom takes every model"
    if not facts.tokens:
        raise CheckpointError(f"--tflite {flavour}: `{facts.name}` is no language model", hint=hint)
    for node in model.graph:
        if _name(node) not in LOWERED:
            raise CheckpointError(
                f"--tflite {flavour}: LiteRT has nothing that computes `{_name(node)}`, which "
                f"makes `{node.outputs[0].name}`",
                hint=hint,
            )
    sizes = (_bytes(held, flavour) for held in stored_matrices(model).values())
    _refuse_too_large(flavour, sum(sizes))


def _name(node: ir.Node) -> str:
    op, _ = forms().get((node.domain, node.op_type), (None, None))
    return op.name if op else node.op_type


def _ports(plan: Plan, role: Role) -> dict[str, Port]:
    """Return shapes and dtypes of what a plan takes or gives; a single row, unless it has more."""
    return {
        value.name: ((value.rows or 1, value.columns), PLAN_DTYPES[value.dtype])
        for value in plan.values
        if value.role is role
    }


def write_near(
    path: Path, model: ir.Model, facts: Facts, flavour: TfliteFlavour, about: Mapping[str, str]
) -> None:
    """Write a step in ops of LiteRT: of a model that is not refused."""
    step = _Step(model, facts, flavour)
    outputs = step.build()
    step.graph.write(
        path, step.inputs, outputs,
        {**about, "flavour": flavour, "exactness": EXACTNESS[flavour]},
    )  # fmt: skip


def _bytes(held: StoredMatrix, flavour: TfliteFlavour) -> int:
    """Return how many bytes a tensor of a near file has."""
    numbers = held.matrix.rows * held.matrix.columns
    if held.matrix.kind in (Kind.TRITS, Kind.SIGNS):
        return -(-numbers // CODES_OF_A_BYTE) if flavour == "int2" else numbers
    return numbers if held.matrix.kind in (Kind.INT4, Kind.INT8) else 4 * numbers


def _refuse_too_large(flavour: TfliteFlavour, size: int) -> None:
    if size > MOST_BYTES:
        raise CheckpointError(
            f"--tflite {flavour}: the file would have {size:,} bytes of weights, LiteRT counts "
            f"them to {MOST_BYTES:,}",
            hint="make floats smaller: --embedding q8",
        )


@dataclasses.dataclass(frozen=True)
class _Codes:
    """What quantized rows are in a graph that quantizes by itself: the rows before that."""

    rows: int


@dataclasses.dataclass(frozen=True)
class _Product:
    """A sum that waits for its scales."""

    rows: int
    weight: ir.Value


class _Step:
    """One graph in the making."""

    def __init__(self, model: ir.Model, facts: Facts, flavour: TfliteFlavour) -> None:
        self.model, self.facts, self.flavour = model, facts, flavour
        self.graph = TfliteGraph()
        self.made: dict[str, int | _Codes | _Product] = {}
        self.tokens = self.graph.tensor("input_ids", (1,), "INT32")
        self.position = self.graph.tensor("position", (1,), "INT32")
        self.inputs = {"input_ids": self.tokens, "position": self.position}
        self._constants: dict[object, int] = {}

    def build(self) -> dict[str, int]:
        """Add every op; return the outputs by name."""
        for value in self.model.graph.inputs:
            if value.name not in self.inputs:
                self._state(value)
        for node in self.model.graph:
            LOWERED[_name(node)](self, node)
        return {str(value.name): self._rows(value) for value in self.model.graph.outputs}

    # ---- values ------------------------------------------------------------------------------

    def _state(self, value: ir.Value) -> None:
        assert value.shape is not None
        _, heads, _, size = value.shape
        shape = (int(heads), self.facts.context, int(size))  # type: ignore[arg-type]
        name = str(value.name)
        self.inputs[name] = self.made[name] = self.graph.tensor(name, shape)

    def _rows(self, value: ir.Value | None) -> int:
        """Return the tensor of a value that flows, or of a vector of weights."""
        assert value is not None
        name = str(value.name)
        if name in self.model.graph.initializers:
            return self._constant(name, self._floats(value))
        found = self.made[name]
        assert isinstance(found, int), f"`{name}` is no float"
        return found

    def _constant(
        self, name: str, values: Array, scales: Array | None = None, *, two_bits: bool = False
    ) -> int:
        key = name, str(values.dtype), scales is not None
        if key not in self._constants:
            self._constants[key] = self.graph.constant(name, values, scales, two_bits=two_bits)
        return self._constants[key]

    def _stored(self, value: ir.Value | None) -> StoredMatrix:
        assert value is not None
        return stored_in(self.model.graph.initializers[str(value.name)])

    def _floats(self, value: ir.Value | None) -> Array:
        stored = self._stored(value)
        matrix = stored.matrix
        return matrix.floats(0, matrix.rows).reshape(stored.logical_shape)

    def _integers(self, value: ir.Value) -> NDArray[np.int8]:
        matrix = self._stored(value).matrix
        return matrix.read_rows(0, matrix.rows).astype(np.int8)

    def _op(
        self, kind: str, inputs: Sequence[int], name: str, shape: Sequence[int],
        options_of: str = "", version: int = 1, dtype: str = "FLOAT32", **options: Any,
    ) -> int:  # fmt: skip
        return self.graph.op(
            kind, inputs, name, shape, options, options_of=options_of, version=version, dtype=dtype
        )

    def _mul(self, a: int, b: int, name: str, shape: Sequence[int] = ()) -> int:
        return self._op("MUL", [a, b], name, shape or self.graph.shapes[a], "MulOptions")

    def _sum(self, a: int, b: int, name: str) -> int:
        return self._op("ADD", [a, b], name, self.graph.shapes[a], "AddOptions")

    def _reshape(self, x: int, shape: Sequence[int], name: str) -> int:
        wanted = self._constant(f"shape {list(shape)}", np.array(shape, np.int32))
        return self._op("RESHAPE", [x, wanted], name, shape, "ReshapeOptions", newShape=list(shape))

    def _scalar(self, value: float) -> int:
        return self._constant(f"{value!r}", np.array([value], np.float32))

    # ---- ops ---------------------------------------------------------------------------------

    def _take_shape(self, node: ir.Node) -> None:
        """How long the cache is: the position, which is given."""

    def _take_embed(self, node: ir.Node) -> None:
        _, table = node.inputs[:2]
        name, stored = str(node.outputs[0].name), self._stored(table)
        assert table is not None
        n, k = stored.logical_shape
        self._refuse_unless(stored.matrix.kind in PLAIN_KINDS, stored, name)
        if stored.matrix.kind is not Kind.INT8:
            rows = self._constant(str(table.name), self._floats(table))
            self.made[name] = self._row_of(rows, self.tokens, name, (1, k))
            return
        scales = self._constant("embedding scales", self._floats(node.inputs[2]).reshape(n, 1))
        codes = self._constant(f"{table.name} codes", self._integers(table))
        row = self._row_of(codes, self.tokens, f"{name} codes", (1, k), "INT8")
        row = self._op(
            "CAST", [row], f"{name} as floats", (1, k), "CastOptions",
            inDataType=self.graph.schema.TensorType.INT8,
            outDataType=self.graph.schema.TensorType.FLOAT32,
        )  # fmt: skip
        scale = self._row_of(scales, self.tokens, f"{name} scale", (1, 1))
        self.made[name] = self._mul(row, scale, name)

    def _row_of(
        self, table: int, index: int, name: str, shape: Sequence[int], dtype: str = "FLOAT32"
    ) -> int:
        version = 1 if dtype == "FLOAT32" else 2
        return self._op(
            "GATHER", [table, index], name, shape, "GatherOptions", version, dtype, axis=0
        )

    def _take_norm(self, node: ir.Node) -> None:
        said, x = attributes_of(node), self._rows(node.inputs[0])
        name, (_, columns) = str(node.outputs[0].name), self.graph.shapes[x]
        heads = int(said["heads"])
        shape = (heads, columns // heads)
        h = self._reshape(x, shape, f"{name}.heads") if heads > 1 else x
        squares = self._mul(h, h, f"{name}.squares")
        last = self._constant("last axis", np.array([1], np.int32))
        mean = self._op("MEAN", [squares, last], f"{name}.mean", (heads, 1), "ReducerOptions",
                        keepDims=True)  # fmt: skip
        mean = self._sum(mean, self._scalar(said["epsilon"]), f"{name}.epsilon")
        root = self._op("RSQRT", [mean], f"{name}.rsqrt", (heads, 1))
        y = self._mul(h, root, f"{name}.normed")
        y = self._mul(y, self._rows(node.inputs[1]), f"{name}.scaled" if heads > 1 else name)
        self.made[name] = self._reshape(y, (1, columns), name) if heads > 1 else y

    def _take_codes(self, node: ir.Node) -> None:
        codes = _Codes(self._rows(node.inputs[0]))
        self.made |= {str(value.name): codes for value in node.outputs}

    def _take_product(self, node: ir.Node) -> None:
        codes, weight = self.made[str(node.inputs[0].name)], node.inputs[1]  # type: ignore[union-attr]
        assert isinstance(codes, _Codes)
        assert weight is not None
        self.made[str(node.outputs[0].name)] = _Product(codes.rows, weight)

    def _take_dense(self, node: ir.Node) -> None:
        weight, name = node.inputs[1], str(node.outputs[0].name)
        stored = self._stored(weight)
        assert weight is not None
        self._refuse_unless(stored.matrix.kind in PLAIN_KINDS, stored, name)
        if stored.matrix.kind is Kind.INT8:
            self._take_product(node)
            return
        weights = self._constant(str(weight.name), self._floats(weight))
        self.made[name] = self._connected(self._rows(node.inputs[0]), weights, name)

    def _take_rescale(self, node: ir.Node) -> None:
        """Of high and low sums the first is enough: both are of the same rows and weights."""
        product, name = self.made[str(node.inputs[0].name)], str(node.outputs[0].name)  # type: ignore[union-attr]
        assert isinstance(product, _Product)
        stored = self._stored(product.weight)
        scales = self._floats(node.inputs[2]).reshape(-1)
        two_bits = self.flavour == "int2" and stored.matrix.kind in (Kind.TRITS, Kind.SIGNS)
        weights = self._constant(
            str(product.weight.name), self._integers(product.weight), scales, two_bits=two_bits
        )
        version = INT2_VERSION if two_bits else INT8_VERSION
        self.made[name] = self._connected(product.rows, weights, name, version)

    def _connected(self, x: int, weights: int, name: str, version: int = 1) -> int:
        n, _ = self.graph.shapes[weights]
        return self._op(
            "FULLY_CONNECTED", [x, weights, -1], name, (1, n), "FullyConnectedOptions", version,
            asymmetricQuantizeInputs=False,
        )  # fmt: skip

    def _refuse_unless(self, holds: bool, stored: StoredMatrix, name: str) -> None:
        if not holds:
            raise CheckpointError(
                f"--tflite {self.flavour}: `{stored.matrix.name}` holds {stored.matrix.kind.value} "
                f"where `{name}` would need floats or int8",
                hint="--tflite custom takes every model",
            )

    def _take_rope(self, node: ir.Node) -> None:
        x, heads = self._rows(node.inputs[0]), int(attributes_of(node)["heads"])
        name, (_, columns) = str(node.outputs[0].name), self.graph.shapes[x]
        half = columns // heads // HALVES
        turned = self._reshape(x, (heads, HALVES * half), f"{name}.heads")
        cos, sin = (self._angles(value, half) for value in node.inputs[1:3])
        low, high = (
            self._op(
                "SLICE", [turned, *self._slice(side * half, heads, half)], f"{name}.{part}",
                (heads, half), "SliceOptions",
            )
            for side, part in enumerate(("low", "high"))
        )  # fmt: skip
        minus = self._scalar(-1.0)
        first = self._sum(
            self._mul(low, cos, f"{name}.a"),
            self._mul(self._mul(high, sin, f"{name}.b"), minus, f"{name}.minus"), f"{name}.first",
        )  # fmt: skip
        second = self._sum(
            self._mul(high, cos, f"{name}.c"), self._mul(low, sin, f"{name}.d"), f"{name}.second"
        )
        both = self._op("CONCATENATION", [first, second], f"{name}.both", (heads, HALVES * half),
                        "ConcatenationOptions", axis=1)  # fmt: skip
        self.made[name] = self._reshape(both, (1, columns), name)

    def _angles(self, table: ir.Value | None, half: int) -> int:
        """Return the row of a table that belongs to the position, read once for all layers."""
        assert table is not None
        key = "row", table.name
        if key not in self._constants:
            self._constants[key] = self._row_of(
                self._rows(table), self.position, f"{table.name}.row", (1, half)
            )
        return self._constants[key]

    def _slice(self, first: int, rows: int, columns: int) -> tuple[int, int]:
        begin = self._constant(f"from {first}", np.array([0, first], np.int32))
        size = self._constant(f"{rows} by {columns}", np.array([rows, columns], np.int32))
        return begin, size

    def _take_append(self, node: ir.Node) -> None:
        past, x = self._rows(node.inputs[0]), self._rows(node.inputs[1])
        name, (heads, _, size) = str(node.outputs[0].name), self.graph.shapes[past]
        row = self._reshape(x, (heads, 1, size), f"{name}.row")
        if "place" not in self._constants:
            zero = self._constant("zero", np.array([0], np.int32))
            self._constants["place"] = self._op(
                "CONCATENATION", [zero, self.position, zero], "place", (3,),
                "ConcatenationOptions", dtype="INT32", axis=0,
            )  # fmt: skip
        self.made[name] = self._op(
            "DYNAMIC_UPDATE_SLICE", [past, row, self._constants["place"]], name,
            (heads, self.facts.context, size),
        )  # fmt: skip

    def _take_attend(self, node: ir.Node) -> None:
        said = attributes_of(node)
        query, key, value = (self._rows(each) for each in node.inputs)
        name, (kv_heads, context, size) = str(node.outputs[0].name), self.graph.shapes[key]
        heads = int(said["heads"])
        shape = (kv_heads, heads // kv_heads, size)
        q = self._reshape(query, shape, f"{name}.heads")
        q = self._mul(q, self._scalar(float(said["scale"])), f"{name}.scaled")
        scores = self._op(
            "BATCH_MATMUL", [q, key], f"{name}.scores", (*shape[:2], context),
            "BatchMatMulOptions", adjY=True,
        )  # fmt: skip
        scores = self._sum(scores, self._mask(context), f"{name}.masked")
        weights = self._op("SOFTMAX", [scores], f"{name}.softmax", (*shape[:2], context),
                           "SoftmaxOptions", beta=1.0)  # fmt: skip
        mixed = self._op("BATCH_MATMUL", [weights, value], f"{name}.mixed", shape,
                         "BatchMatMulOptions")  # fmt: skip
        self.made[name] = self._reshape(mixed, (1, heads * size), name)

    def _mask(self, context: int) -> int:
        """Return what is added to the scores: 0 up to the position, and a large negative number."""
        if "mask" not in self._constants:
            places = self._constant("places", np.arange(context, dtype=np.int32))
            types = self.graph.schema.TensorType
            later = self._op("GREATER", [places, self.position], "later", (context,),
                             "GreaterOptions", dtype="BOOL")  # fmt: skip
            later = self._op("CAST", [later], "later as floats", (context,), "CastOptions",
                             inDataType=types.BOOL, outDataType=types.FLOAT32)  # fmt: skip
            self._constants["mask"] = self._mul(later, self._scalar(float(FAR)), "mask")
        return self._constants["mask"]

    def _take_relu(self, node: ir.Node) -> None:
        x, name = self._rows(node.inputs[0]), str(node.outputs[0].name)
        self.made[name] = self._op("RELU", [x], name, self.graph.shapes[x])

    def _take_silu(self, node: ir.Node) -> None:
        x, name = self._rows(node.inputs[0]), str(node.outputs[0].name)
        gate = self._op("LOGISTIC", [x], f"{name}.gate", self.graph.shapes[x])
        self.made[name] = self._mul(x, gate, name)

    def _take_add(self, node: ir.Node) -> None:
        self._binary(node, self._sum)

    def _take_mul(self, node: ir.Node) -> None:
        self._binary(node, self._mul)

    def _binary(self, node: ir.Node, make: Callable[[int, int, str], int]) -> None:
        a, b = (self._rows(value) for value in node.inputs)
        name = str(node.outputs[0].name)
        self.made[name] = make(a, b, name)


PLAIN_KINDS = (Kind.FLOAT, Kind.FLOAT16, Kind.BFLOAT16, Kind.INT8)

LOWERED: Mapping[str, Callable[[_Step, ir.Node], None]] = {
    "Shape": _Step._take_shape, "Embed": _Step._take_embed, "RmsNorm": _Step._take_norm,
    "QuantizeRows": _Step._take_codes, "QuantizeRowsInt4": _Step._take_codes,
    "QuantizeRowsInt16": _Step._take_codes, "TernaryMatMul": _Step._take_product,
    "DenseMatMul": _Step._take_dense, "Rescale": _Step._take_rescale, "Rope": _Step._take_rope,
    "AppendCache": _Step._take_append, "Attend": _Step._take_attend, "Relu": _Step._take_relu,
    "Silu": _Step._take_silu, "Add": _Step._take_add, "Mul": _Step._take_mul,
}  # fmt: skip
"""How ops of ours become ops of LiteRT."""
