"""What flows between the nodes of a network, and what is still to be computed of it.

Elementwise steps wait until somebody needs the result: a quantizer of few levels turns a layer's
sums and all steps behind them into thresholds, everybody else gets floats.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.errors import CheckpointError
from bitexport.models.network import thresholds
from bitexport.models.network.quantizers import Quantizer
from bitexport.models.network.steps import Step, falls, folded
from bitexport.models.parts.builder import GraphBuilder

F32 = NDArray[np.float32]
MOST_LEVELS = 15
"""Thresholds that are counted; a quantizer of more levels divides and rounds."""


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Floats that are there."""

    value: ir.Value


@dataclasses.dataclass(frozen=True)
class Codes:
    """Small integers that are there, each times the scale."""

    value: ir.Value
    scale: np.float32
    largest: int
    """Largest magnitude of a code."""
    zero: int = 0
    """The zero point that QuantizeLinear gave it, taken off already."""


@dataclasses.dataclass
class Product:
    """Sums of a layer of trits, each times the factor of its row."""

    make: Callable[[NDArray[np.bool_] | None, str], ir.Value]
    """Adds the product to the graph, with the signs of some rows turned; names get a suffix."""
    factor: F32
    """[1] or [n]."""
    bound: NDArray[np.int64]
    """Largest magnitude of the sums, [n]."""
    made: dict[bytes, ir.Value] = dataclasses.field(default_factory=dict)

    def sums(self, turned: NDArray[np.bool_] | None = None) -> ir.Value:
        """Return the sums; the same product is made once."""
        if turned is not None and not turned.any():
            turned = None
        key = b"" if turned is None else turned.tobytes()
        if key not in self.made:
            self.made[key] = self.make(turned, f".{len(self.made)}" if self.made else "")
        return self.made[key]


@dataclasses.dataclass(eq=False)
class Flow:
    """A value of the network: of one sample, whatever the batch is."""

    name: str
    shape: tuple[int, ...]
    """As the network has it, 1 standing for the batch."""
    source: Numbers | Codes | Product
    picture: bool = False
    """Whether it lies as positions with channels; else a sample is one row."""
    steps: tuple[Step, ...] = ()
    floats: ir.Value | None = None
    """Its result as floats, once somebody asked for that."""

    @property
    def columns(self) -> int:
        """Columns of its matrix."""
        return self.shape[1] if self.picture else math.prod(self.shape[1:])

    def then(self, step: Step, name: str) -> Flow:
        """Return the flow behind one more step."""
        return Flow(name, self.shape, self.source, self.picture, (*self.steps, step))

    def vector(self, constant: NDArray[Any]) -> F32 | None:
        """Return a constant that is broadcast to the value, [1] or [columns]; None if it cannot."""
        try:
            whole = np.broadcast_to(constant, self.shape)
        except ValueError:
            return None
        vector = np.asarray(whole, np.float32)
        if self.picture:
            vector = vector.reshape(self.shape[1], -1)
            if not np.all(vector == vector[:, :1]):
                return None
            vector = vector[:, 0]
        flat = vector.reshape(-1)
        return flat[:1] if np.all(flat == flat[0]) else flat


class Emitter:
    """Adds ops to the graph for what flows ask for."""

    def __init__(self, builder: GraphBuilder, path: Path, names: Iterable[str]) -> None:
        self.builder, self.path = builder, path
        self._taken = set(names)

    def fresh(self, name: str) -> str:
        """Return a name that nothing else has: this one, or one that begins with it."""
        every = itertools.chain([name], (f"{name}.{at}" for at in itertools.count(1)))
        found = next(each for each in every if each not in self._taken)
        self._taken.add(found)
        return found

    def op(
        self, op_type: str, inputs: Sequence[ir.Value], name: str, **attributes: Any
    ) -> ir.Value:
        """Add an op with one output."""
        return self.builder.op(op_type, inputs, self.fresh(name), **attributes)

    def tensor(self, name: str, values: NDArray[Any], kind: Kind) -> ir.Value:
        """Add an initializer of some rank; it is held in memory."""
        rows, name = values.reshape(len(values), -1), self.fresh(name)
        matrix = Matrix(name, kind, *rows.shape, lambda start, stop: rows[start:stop])
        return self.builder.weight(name, matrix, values.shape)

    def affine(
        self, value: ir.Value, factor: NDArray[Any], offset: NDArray[Any], name: str
    ) -> ir.Value:
        """Return value * factor + offset, constants of float64 rounded once."""
        suffixes = {ir.DataType.INT32: "S32", ir.DataType.INT8: "S8"}
        suffix = suffixes.get(value.dtype, "") if value.dtype is not None else ""
        constants = [
            self.tensor(f"{name}.{what}", vector.astype(np.float32), Kind.FLOAT)
            for what, vector in (("factor", factor), ("offset", offset))
        ]
        return self.op(f"Affine{suffix}", [value, *constants], name)

    def floats(self, flow: Flow) -> ir.Value:
        """Return a flow as floats."""
        if flow.floats is None:
            flow.floats = self._floats(flow)
        return flow.floats

    def _floats(self, flow: Flow) -> ir.Value:
        """Linear steps that follow each other become one factor and one offset."""
        runs = [
            (linear, list(run))
            for linear, run in itertools.groupby(flow.steps, lambda step: step.factor is not None)
        ]
        value, factor = _start(flow.source)
        if factor is not None and (not runs or not runs[0][0]):
            runs.insert(0, (True, []))
        for at, (linear, run) in enumerate(runs):
            name = flow.name if at == len(runs) - 1 else f"{flow.name}.{at}"
            if linear:
                a, b = folded(run)
                a = a if factor is None else a * factor.astype(np.float64)
                factor = None
                value = self.affine(value, a, b, name)
                continue
            for number, step in enumerate(run):
                if step.name != "Relu":
                    raise CheckpointError(
                        f"{self.path}: `{flow.name}` is clipped and then not quantized to few "
                        "levels",
                        hint="Clip is taken before Quant or BipolarQuant; elsewhere use Relu",
                    )
                last = number == len(run) - 1
                value = self.op("Relu", [value], name if last else f"{name}.{number}")
        return value

    def quantized(self, flow: Flow, quantizer: Quantizer, name: str) -> Flow:
        """Return the codes of a flow: by thresholds where they are few, else rounded."""
        if quantizer.levels <= MOST_LEVELS:
            value = self._by_thresholds(flow, quantizer, name)
        else:
            value = self.op(
                "QuantizeFixed", [self.floats(flow)], f"{name}.codes",
                scale=quantizer.scale, least=quantizer.least, most=quantizer.most,
            )  # fmt: skip
        return Flow(
            name, flow.shape, Codes(value, quantizer.scale, quantizer.largest), flow.picture
        )

    def _by_thresholds(self, flow: Flow, quantizer: Quantizer, name: str) -> ir.Value:
        columns, down = flow.columns, falls(flow.steps)
        turned = np.broadcast_to(down, columns) if down.any() else None
        rising = _rising(flow.steps, down)
        source = flow.source
        if isinstance(source, Product):
            factor = source.factor
            levels: NDArray[Any] = thresholds.of_sums(
                lambda s: rising(s * factor), quantizer, columns, source.bound
            )
            value, suffix, kind = source.sums(turned), "S32", Kind.INT32
        else:
            if isinstance(source, Codes):
                value = self.affine(
                    source.value, np.array([source.scale]), np.zeros(1), f"{name}.floats"
                )
            else:
                value = source.value
            if turned is not None:
                signs = np.where(down, -1, 1)
                value = self.affine(value, signs, np.zeros(1), f"{name}.turned")
            levels = thresholds.of_floats(rising, quantizer, columns)
            suffix, kind = "", Kind.FLOAT
        if np.all(levels == levels[:, :1]):
            levels = levels[:, :1]
        given = self.tensor(f"{name}.levels", levels, kind)
        return self.op(
            f"Threshold{suffix}", [value, given], f"{name}.codes",
            start=quantizer.least, step=quantizer.step,
        )  # fmt: skip


def _start(source: Numbers | Codes | Product) -> tuple[ir.Value, F32 | None]:
    """Return what steps begin with, and a factor that is still to be applied."""
    if isinstance(source, Product):
        return source.sums(), source.factor
    if isinstance(source, Codes):
        return source.value, np.array([source.scale], np.float32)
    return source.value, None


def _rising(steps: Sequence[Step], down: NDArray[np.bool_]) -> Callable[[F32], F32]:
    """Return all steps as one function that rises: where they fall, of the negative number."""
    sign = np.where(down, np.float32(-1), np.float32(1))

    def apply(x: F32) -> F32:
        y = x * sign
        for step in steps:
            y = step.apply(y)
        return y

    return apply
