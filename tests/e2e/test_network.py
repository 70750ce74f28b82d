"""A small network, not a language model: named inputs and outputs, the same plan and bits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from tests import mixed_network

from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.checkpoints.weights import Weights
from bitexport.emit.bitx import PROVENANCE, BitxWriter
from bitexport.emit.onnx_graph import write_onnx
from bitexport.emit.source import copy_runtime
from bitexport.models.parts.builder import Activations, GraphBuilder
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.stored import stored_matrices
from bitexport.ops import Type
from bitexport.passes.pipeline import lower
from bitexport.targets import Target, find_target
from bitexport.toolchain.compile import Library, build_runner, sources
from bitexport.toolchain.emulate import run
from bitexport_ref.evaluator import load

INPUTS = {"image": 50, "side": 7}
HIDDEN, CLASSES = 37, 10


def matrix(values: NDArray[np.generic], name: str, kind: Kind) -> Matrix:
    return Matrix(name, kind, *values.shape, lambda start, stop: values[start:stop])


def build_graph(seed: int) -> ir.Model:
    """Two inputs, two outputs, ternary and dense layers, biases, a standard Relu and Mul."""
    draw = np.random.default_rng(seed)
    builder = GraphBuilder(
        "network",
        [(name, Type(ir.DataType.FLOAT, ("batch", size))) for name, size in INPUTS.items()],
    )
    scale = matrix(np.full((1, 1), 0.03, np.float32), "scale", Kind.FLOAT)
    trits = matrix(draw.integers(-1, 2, (HIDDEN, INPUTS["image"])).astype(np.int8), "w", Kind.TRITS)
    image = Activations(builder, builder.input("image"), "image")
    first = Weights(values=trits, scale=scale)
    hidden = builder.linear(image, first, "first", activations="int8")
    bias = draw.standard_normal((HIDDEN, 1)).astype(np.float32)
    shift = builder.weight("first.bias", matrix(bias, "bias", Kind.FLOAT), (HIDDEN,))
    hidden = builder.op("Add", [hidden, shift], "biased")
    hidden = builder.op("Relu", [hidden], "features")
    dense = draw.standard_normal((HIDDEN, INPUTS["side"])).astype(np.float32)
    gate_weight = builder.weight("gate", matrix(dense, "g", Kind.FLOAT), dense.shape)
    gate = builder.op("DenseMatMulF32", [builder.input("side"), gate_weight], "gate.output")
    mixed = builder.op("Mul", [hidden, gate], "mixed")
    last = matrix(draw.integers(-1, 2, (CLASSES, HIDDEN)).astype(np.int8), "w2", Kind.TRITS)
    scores = builder.linear(
        Activations(builder, mixed, "mixed"), Weights(values=last, scale=scale), "scores",
        activations="int8",
    )  # fmt: skip
    return builder.finish([scores, hidden])


def build(folder: Path, target: Target, model: ir.Model) -> None:
    """Write the network and the runtime's source."""
    plan = lower(model, target.layout)
    writer = BitxWriter(folder / "model.bitx", 8)
    facts = Facts(name="network", family="test")
    offsets = writer.add_model(plan, stored_matrices(model), facts)
    writer.add(PROVENANCE, b"{}")
    writer.finish()
    write_onnx(model, folder / "model.onnx", "model.bitx", offsets, {})
    copy_runtime([source.path for source in sources(target)], folder)


@pytest.mark.parametrize("target_name", ["host", "arm64", "armv7"])
def test_every_output_of_a_network_has_the_reference_bits_on_every_core(
    target_name: str, libraries: Callable[[Target], Library], tmp_path: Path
) -> None:
    target = find_target(target_name)
    build(tmp_path, target, build_graph(seed=7))
    program = build_runner(target, libraries(target), tmp_path, tmp_path / "runner")
    draw = np.random.default_rng(11)
    inputs = [
        {n: draw.standard_normal((rows, c)).astype(np.float32) for n, c in INPUTS.items()}
        for rows in (1, 5)
    ]
    check(target, program, tmp_path, inputs, {"scores.output", "features"})


@pytest.mark.parametrize("target_name", ["host", "arm64", "armv7"])
@pytest.mark.parametrize(
    ("table", "group"),
    [(Kind.SIGNS, 64), (Kind.TRITS, 32), (Kind.INT4, 32), (Kind.FLOAT16, 0), (Kind.INT8, 0)],
)
def test_every_kind_of_layer_has_the_reference_bits_on_every_core(
    table: Kind, group: int, target_name: str, libraries: Callable[[Target], Library],
    tmp_path: Path,
) -> None:  # fmt: skip
    target = find_target(target_name)
    build(tmp_path, target, mixed_network.build(table, group))
    program = build_runner(target, libraries(target), tmp_path, tmp_path / "runner")
    inputs = [{"ids": np.array(ids)} for ids in ([49], [0, 3, 31, 32, 49])]
    check(target, program, tmp_path, inputs, set(mixed_network.OUTPUTS))


def check(
    target: Target, program: Path, folder: Path,
    inputs: Sequence[Mapping[str, NDArray[np.generic]]], outputs: set[str],
) -> None:  # fmt: skip
    """Run a network on every core; each output has the bits of the reference."""
    for given, core in itertools.product(inputs, target.cores):
        rows = len(next(iter(given.values())))
        expected = load(folder / "model.onnx").run_network(dict(given))
        assert set(expected) == outputs
        data = folder / "inputs.bin"
        data.write_bytes(b"".join(in_plan(x).tobytes() for x in given.values()))
        words = [str(folder / "model.bitx"), "--network", str(rows), "--input", str(data)]
        said = map(str.split, run(target, core, program, words).stdout.splitlines())
        observed = {line[1]: bytes.fromhex(line[3]) for line in said if line[0] == "output"}
        assert observed == {name: value.tobytes() for name, value in expected.items()}, core


def in_plan(x: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return an input as the plan takes it: tokens are int64 in ONNX, s32 on devices."""
    return x.astype(np.int32) if x.dtype == np.int64 else x
