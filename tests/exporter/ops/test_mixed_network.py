"""Every kind of layer in stock onnxruntime: near the product of the floats that it stands for.

Nothing of ours computes here but the exporter; the bound of each layer is what rounding its
activations may cost: half a step for each column, times the weight.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from tests.mixed_network import CLASSES, COLUMNS, LAYERS, OUTPUTS, VOCABULARY, build, random_weights

from bitexport.checkpoints.matrix import Kind
from bitexport.checkpoints.weights import Weights
from bitexport.emit.bitx import BitxWriter
from bitexport.emit.onnx_graph import write_onnx
from bitexport.models.parts.builder import GROUP
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.options import ActivationKind
from bitexport.models.parts.stored import stored_matrices
from bitexport.passes.pipeline import lower

IDS = np.array([0, 3, 31, 32, 49])
F64 = NDArray[np.float64]


def floats_of(weights: Weights) -> F64:
    """Return the numbers that weights stand for, (n, k)."""
    values = weights.values.floats(0, weights.values.rows).astype(np.float64)
    if weights.scale is None:
        return values
    n, k = values.shape
    scale = weights.scale.floats(0, weights.scale.rows)
    groups = np.arange(k) // weights.group if weights.group else np.zeros(k, int)
    rows = np.broadcast_to(scale, (max(groups) + 1, n))
    return values * rows[groups].T


def rounding(h: F64, activations: ActivationKind, group: int) -> F64:
    """Return the most that each element of h (rows, k) is moved by its quantization."""
    if activations == "int4":
        step = np.abs(h).mean(axis=1, keepdims=True) / np.sqrt(7)
        return np.maximum(step / 2, np.maximum(h - 7 * step, -8 * step - h))
    if activations != "int8-group":
        levels = {"int8": 127, "int16": 32512}[activations]
        return np.broadcast_to(np.abs(h).max(axis=1, keepdims=True) / levels / 2, h.shape)
    moved = np.empty_like(h)
    for at in range(0, h.shape[1], group):
        part = slice(at, at + group)
        moved[:, part] = np.abs(h[:, part]).max(axis=1, keepdims=True) / 127 / 2
    return moved


@pytest.mark.parametrize(("table", "group"), [
    (Kind.SIGNS, 64), (Kind.TRITS, 32), (Kind.TRITS, 0), (Kind.INT4, 32), (Kind.FLOAT16, 0),
    (Kind.INT8, 0),
])  # fmt: skip
def test_a_layer_is_near_the_product_of_its_floats(
    table: Kind, group: int, tmp_path: Path,
    stock: Callable[[Path], onnxruntime.InferenceSession],
) -> None:  # fmt: skip
    model = build(table, group)
    plan = lower(model, "p2r")
    writer = BitxWriter(tmp_path / "model.bitx", 7)
    facts = Facts(name="mixed", family="test")
    offsets = writer.add_model(plan, stored_matrices(model), facts)
    writer.finish()
    write_onnx(model, tmp_path / "model.onnx", "model.bitx", offsets, {})
    session = stock(tmp_path / "model.onnx")
    names = [value.name for value in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"ids": IDS}), strict=True))

    x = floats_of(random_weights(table, VOCABULARY, COLUMNS, group))[IDS].reshape(len(IDS), 2, -1)
    root = np.sqrt((x**2).mean(axis=2, keepdims=True) + 1e-5)
    h = (x / root * np.linspace(0.5, 1.5, COLUMNS // 2)).reshape(len(IDS), COLUMNS)
    assert tuple(found) == OUTPUTS
    for seed, (name, kind, layer_group, activations) in enumerate(LAYERS):
        if f"{name}.output" not in OUTPUTS:
            continue
        weights = floats_of(random_weights(kind, CLASSES, COLUMNS, layer_group, seed))
        bound = 1e-5 * np.abs(h) @ np.abs(weights).T  # float32 on the way
        if kind not in (Kind.FLOAT, Kind.FLOAT16, Kind.BFLOAT16):
            bound += rounding(h, activations, layer_group or GROUP) @ np.abs(weights).T
        expected = h @ weights.T
        away = np.abs(found[f"{name}.output"] - expected)
        assert np.all(away <= bound), name
        assert away.mean() < np.abs(expected).mean() / 3, f"{name}: int4 has a wide bound"
