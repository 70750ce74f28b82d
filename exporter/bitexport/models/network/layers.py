"""Layers with weights: of trits over codes, of trits over floats, and of floats where asked."""

from __future__ import annotations

import dataclasses
import fnmatch
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.checkpoints.weights import Weights
from bitexport.errors import CheckpointError
from bitexport.models.network.flows import Codes, Emitter, Flow, Numbers, Product
from bitexport.models.network.ternary import Trits, trits_of, what_is_wrong
from bitexport.models.parts.builder import Activations
from bitexport.models.parts.options import ActivationKind, Options

F32 = NDArray[np.float32]

DEFAULT_ACTIVATIONS: ActivationKind = "int16"
"""Of floats that the graph does not quantize: what diverges least."""
FLOATS = {"f32": Kind.FLOAT, "f16": Kind.FLOAT16}
MOST_COLUMNS = 131056
CODES = "codes"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer as its node has it."""

    name: str
    """Of what it makes."""
    called: str
    """The name of its node, or of what it makes."""
    where: str
    note: str
    """What its weights are called, and how they were quantized."""
    shape: tuple[int, ...]
    """Of what it makes."""


class Layers:
    """Adds products to the graph."""

    def __init__(self, path: Path, emitter: Emitter, options: Options) -> None:
        self.path, self.emitter = path, emitter
        self.kind = options.activations or DEFAULT_ACTIVATIONS
        self.precision = options.precision
        self.activations: set[str] = set()
        """How layers were given what they multiply."""
        self._matched: set[str] = set()
        self._given: dict[ir.Value, Activations] = {}

    def refuse_unused(self) -> None:
        """Refuse a --precision that no layer has the name of."""
        for pattern, form in self.precision:
            if pattern not in self._matched:
                raise CheckpointError(
                    f"--precision {pattern}={form}: no layer of {self.path} has such a name",
                    hint="a layer is called as its node, or as what the node makes",
                )

    def dense(self, flow: Flow, weight: F32, layer: Layer) -> Flow:
        """Return the product of a row with weights [n, k]."""
        form = self._form(layer)
        if form is not None:
            return self._floats(self.emitter.floats(flow), weight, layer, form)
        trits = self._trits(weight, layer)
        codes = _codes_of(flow)
        if codes is None:
            return self._rounded(self.emitter.floats(flow), trits, layer)
        return self._product(codes, codes.value, trits, layer)

    def conv(
        self, flow: Flow, weight: F32, group: int, window: Mapping[str, Any], layer: Layer
    ) -> Flow:
        """Return the convolution of a picture with weights [n, c / group, height, width]."""
        form = self._form(layer)
        rows = np.ascontiguousarray(np.moveaxis(weight, 1, 3))
        if form is not None:
            patches = self._patches(self.emitter.floats(flow), window, layer)
            whole = _apart(rows, group).reshape(len(rows), -1)
            return self._floats(patches, whole, layer, form)
        trits = self._trits(rows.reshape(len(rows), -1), layer)
        codes = _codes_of(flow)
        if codes is not None and group == weight.shape[0] == flow.shape[1] > 1:
            return self._depthwise(codes, trits, window, layer)
        spread = _apart(trits.values.reshape(rows.shape), group).reshape(len(rows), -1)
        trits = dataclasses.replace(trits, values=spread)
        if codes is None:
            patches = self._patches(self.emitter.floats(flow), window, layer)
            return self._rounded(patches, trits, layer)
        return self._product(codes, self._patches(codes.value, window, layer), trits, layer)

    # ---- what a product is made of -------------------------------------------------------------

    def _trits(self, weight: F32, layer: Layer) -> Trits:
        if not np.isfinite(weight).all():
            row, column = (int(at) for at in np.argwhere(~np.isfinite(weight))[0])
            raise CheckpointError(
                f"{layer.where}: its weights {layer.note} hold a NaN or an infinity at "
                f"[{row}, {column}]",
                hint="the model is damaged, or its training diverged",
            )
        found = trits_of(weight)
        if found is None:
            raise CheckpointError(
                f"{layer.where}: its weights {layer.note} {what_is_wrong(weight)}",
                hint="weights are 0 and plus or minus one number in each row, as 1 bit or 2 bits "
                f"(narrow) give; a few layers may stay floats: --precision {layer.called}=f32",
            )
        return found

    def _form(self, layer: Layer) -> Kind | None:
        """Return the floats that a layer is to be kept in."""
        found = None
        for pattern, form in self.precision:
            if not fnmatch.fnmatchcase(layer.called, pattern):
                continue
            self._matched.add(pattern)
            if form not in FLOATS:
                raise CheckpointError(
                    f"--precision {pattern}={form}: layers of a network stay f32 or f16",
                    hint=f"--precision {pattern}=f32",
                )
            found = FLOATS[form]
        return found

    def _patches(self, x: ir.Value, window: Mapping[str, Any], layer: Layer) -> ir.Value:
        """Return what the window sees; a window of one position sees the picture itself."""
        assert x.shape is not None
        columns = math.prod(window["kernel_shape"]) * int(x.shape[-1])  # type: ignore[arg-type]
        _refuse_too_wide(columns, layer)
        if set(window["kernel_shape"]) == set(window["strides"]) == {1} and not any(window["pads"]):
            return x
        suffix = "S8" if x.dtype is ir.DataType.INT8 else ""
        return self.emitter.op(f"Patches{suffix}", [x], f"{layer.name}.patches", **window)

    def _product(self, codes: Codes, given: ir.Value, trits: Trits, layer: Layer) -> Flow:
        n, k = trits.values.shape
        _refuse_too_wide(k, layer)

        def make(values: NDArray[np.int8], name: str, weight_name: str) -> ir.Value:
            weight_name = self.emitter.fresh(weight_name)
            matrix = Matrix(weight_name, trits.kind, n, k, lambda a, b: values[a:b])
            weight = self.emitter.builder.weight(weight_name, matrix, (n, k))
            return self.emitter.op("TernaryMatMul", [given, weight], name, n=n, k=k)

        return self._sums(codes, trits, layer, make)

    def _depthwise(
        self, codes: Codes, trits: Trits, window: Mapping[str, Any], layer: Layer
    ) -> Flow:
        def make(values: NDArray[np.int8], name: str, weight_name: str) -> ir.Value:
            taps = np.ascontiguousarray(values.T)
            weight = self.emitter.tensor(weight_name, taps, Kind.INT8)
            return self.emitter.op("DepthwiseConv", [codes.value, weight], name, **window)

        return self._sums(codes, trits, layer, make)

    def _sums(
        self, codes: Codes, trits: Trits, layer: Layer,
        make: Callable[[NDArray[np.int8], str, str], ir.Value],
    ) -> Flow:  # fmt: skip
        """Return the product that `make` adds, of weights whose rows may be turned."""
        self.activations.add(CODES)

        def turn(turned: NDArray[np.bool_] | None, suffix: str) -> ir.Value:
            signs = 1 if turned is None else np.where(turned, -1, 1)[:, None]
            values = np.asarray(trits.values * signs, np.int8)
            return make(values, f"{layer.name}.sum{suffix}", f"{layer.name}.weight{suffix}")

        factor = codes.scale.astype(np.float64) * trits.scale.astype(np.float64)
        weights = np.abs(trits.values).astype(np.int64).sum(axis=1)
        product = Product(turn, factor.astype(np.float32), weights * codes.largest)
        return Flow(layer.name, layer.shape, product, picture=len(layer.shape) > PICTURE_FROM)

    def _rounded(self, x: ir.Value, trits: Trits, layer: Layer) -> Flow:
        """Return the product with floats that are rounded for each row, as in a language model."""
        n, k = trits.values.shape
        _refuse_too_wide(k, layer)
        self.activations.add(self.kind)
        values = Matrix(layer.name, trits.kind, n, k, lambda a, b: trits.values[a:b])
        scale = Matrix(
            f"{layer.name}.scale", Kind.FLOAT, 1, len(trits.scale),
            lambda a, b: trits.scale[None][a:b],
        )  # fmt: skip
        if x not in self._given:
            name = self.emitter.fresh(f"{x.name}.rounded")
            self._given[x] = Activations(self.emitter.builder, x, name)
        name = self.emitter.fresh(f"{layer.name}.product")
        weights = Weights(values=values, scale=scale)
        made = self.emitter.builder.linear(
            self._given[x], weights, name, activations=self.kind, output=name
        )
        return Flow(layer.name, layer.shape, Numbers(made), len(layer.shape) > PICTURE_FROM)

    def _floats(self, x: ir.Value, weight: F32, layer: Layer, kind: Kind) -> Flow:
        self.activations.add("floats")
        stored = weight.astype(np.float16) if kind is Kind.FLOAT16 else weight
        if not np.array_equal(stored.astype(np.float32), weight):
            raise CheckpointError(
                f"{layer.where}: its weights {layer.note} lose bits as f16",
                hint=f"--precision {layer.called}=f32",
            )
        given = self.emitter.tensor(f"{layer.name}.weight", stored, kind)
        suffix = "F16" if kind is Kind.FLOAT16 else "F32"
        made = self.emitter.op(f"DenseMatMul{suffix}", [x, given], layer.name)
        return Flow(layer.name, layer.shape, Numbers(made), len(layer.shape) > PICTURE_FROM)


PICTURE_FROM = 3
"""A layer that makes more dimensions than these makes a picture."""


def _codes_of(flow: Flow) -> Codes | None:
    """Return the codes that a flow is; positive factors behind them change their scale alone."""
    source = flow.source
    if not isinstance(source, Codes):
        return None
    scale = source.scale
    for step in flow.steps:
        one = step.name in ("Mul", "Div") and step.factor is not None and step.factor.size == 1
        if not one:
            return None
        scale = step.apply(np.array([scale], np.float32))[0]
    if not (np.isfinite(scale) and scale > 0):
        return None
    return dataclasses.replace(source, scale=scale)


def _apart(rows: NDArray[Any], group: int) -> NDArray[Any]:
    """Return weights [n, h, w, c / group] as [n, h, w, c], 0 for channels of other groups."""
    n, height, width, few = rows.shape
    if group == 1:
        return rows
    whole = np.zeros((n, height, width, few * group), rows.dtype)
    each = n // group
    for at in range(group):
        part = slice(at * each, (at + 1) * each)
        whole[part, :, :, at * few : (at + 1) * few] = rows[part]
    return whole


def _refuse_too_wide(columns: int, layer: Layer) -> None:
    if columns > MOST_COLUMNS:
        raise CheckpointError(
            f"{layer.where}: a row of its weights has {columns} numbers, at most {MOST_COLUMNS} "
            "are summed exactly",
            hint="split the layer",
        )
