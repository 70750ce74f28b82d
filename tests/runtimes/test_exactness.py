"""What a node's metadata claims is true: each op of a graph, alone, on the reference's inputs.

`bit-exact` means the reference's bits, in the oldest and the newest onnxruntime, with all of its
optimisations and with none, in model_portable.onnx and in the function bodies of model.onnx; what
is `near` is within 2e-6 of its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tests.mixed_network import build
from tests.runtimes.conftest import PROMPT
from tests.runtimes.places import HERE, NEW_PYTHON, OLD_PYTHON, said

from bitexport.checkpoints.matrix import Kind
from bitexport.emit.bitx import BitxWriter
from bitexport.emit.exactness import Exactness, exactness_of_nodes
from bitexport.emit.manifest import Bundle
from bitexport.emit.onnx_graph import BODY_EXACTNESS, write_onnx
from bitexport.emit.onnx_standard import FILES, Flavour, write_standard
from bitexport.emit.standard_graph import EXACTNESS, OP, OUTPUT
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.stored import stored_matrices
from bitexport.ops import DOMAIN
from bitexport.passes.pipeline import lower
from bitexport_ref.evaluator import Traced, load

Array = NDArray[Any]
Values = Mapping[str, Array]
LEVELS = {"as_loaded": "ORT_ENABLE_ALL", "as_written": "ORT_DISABLE_ALL"}
PYTHONS = {"newest": NEW_PYTHON, "oldest": OLD_PYTHON}
NEAR = 2e-6
"""Of a row's largest magnitude: 16 roundings."""


class Part:
    """An op of ours: the nodes of a graph that it became, and its class."""

    def __init__(self, op: str, output: str, nodes: Sequence[onnx.NodeProto]) -> None:
        self.op, self.output, self.nodes = op, output, nodes

    @property
    def exactness(self) -> Exactness:
        """The class that the metadata of its nodes says."""
        told = [properties(node) for node in self.nodes]
        if BODY_EXACTNESS in told[0]:
            return Exactness(told[0][BODY_EXACTNESS])
        for node, found in zip(self.nodes, told, strict=True):
            assert found[EXACTNESS] == exactness_of_nodes([node.op_type])
        return exactness_of_nodes(node.op_type for node in self.nodes)


def properties(node: onnx.NodeProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in node.metadata_props}


def parts_of(proto: onnx.ModelProto) -> Iterator[Part]:
    groups: dict[tuple[str, str], list[onnx.NodeProto]] = {}
    for node in proto.graph.node:
        told = properties(node)
        assert EXACTNESS in told, node.name
        if node.op_type == "Shape" and OP not in told:
            continue
        key = told.get(OP, node.op_type), told.get(OUTPUT, node.output[0])
        groups.setdefault(key, []).append(node)
    for (op, output), nodes in groups.items():
        yield Part(op, output, nodes)


def write_part(
    part: Part, proto: onnx.ModelProto, calls: Sequence[Values], name: str, folder: Path
) -> None:
    """Write the nodes of one op as a graph of its own, and what they are given in each call."""
    graph = proto.graph
    types = {v.name: v for v in (*graph.value_info, *graph.input, *graph.output)}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    made = {name for node in part.nodes for name in node.output}
    read = [name for node in part.nodes for name in node.input if name and name not in made]
    given = [name for name in dict.fromkeys(read) if name not in stored]
    alone = onnx.helper.make_graph(
        list(part.nodes), "part", [types[name] for name in given],
        [types[name] for name in sorted(made & calls[0].keys())],
        [stored[name] for name in dict.fromkeys(read) if name in stored],
    )  # fmt: skip
    model = onnx.helper.make_model(
        alone, ir_version=proto.ir_version, opset_imports=proto.opset_import,
        functions=proto.functions,
    )  # fmt: skip
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    ranks = {name: len(types[name].type.tensor_type.shape.dim) for name in given}
    for at, values in enumerate(calls):
        feeds = {name: shaped(values[name], ranks[name]) for name in given}
        np.savez(folder / f"{name}-{at}.npz", **feeds)


def shaped(rows: Array, rank: int) -> Array:
    return np.ascontiguousarray(rows.reshape((1,) * (rank - rows.ndim) + rows.shape))


def raised(values: Values) -> Values:
    """Return codes of one byte as products take them: 128 above."""
    return {
        f"{name}.raised": (codes.astype(np.int16) + 128).astype(np.uint8)
        for name, codes in values.items()
        if codes.dtype == np.int8
    }


def check_parts(
    proto: onnx.ModelProto, calls: Sequence[Values], level: str, runtime: str, folder: Path
) -> dict[str, set[str]]:
    """Hold every op to its class; return the ops of each class."""
    calls = [{**values, **raised(values)} for values in calls]
    parts = [part for part in parts_of(proto) if part.output in calls[0]]
    folder.mkdir()
    for number, part in enumerate(parts):
        write_part(part, proto, calls, f"{number:04}", folder)
    said([PYTHONS[runtime], HERE / "run_parts.py", folder, LEVELS[level]])
    classes: dict[str, set[str]] = {}
    for number, part in enumerate(parts):
        classes.setdefault(part.exactness, set()).add(part.op)
        for at, values in enumerate(calls):
            for name, found in np.load(folder / f"{number:04}-{at}.made.npz").items():
                check(found, values[name].reshape(found.shape), part.exactness, name)
    return classes


def check(found: Array, expected: Array, exactness: Exactness, name: str) -> None:
    assert found.dtype == expected.dtype
    if exactness is Exactness.BIT_EXACT:
        bits = f"u{found.dtype.itemsize}"
        expected = np.ascontiguousarray(expected)
        np.testing.assert_array_equal(found.view(bits), expected.view(bits), name)
    else:
        largest = np.abs(expected).max(axis=-1, keepdims=True)
        assert np.all(np.abs(found - expected) <= NEAR * largest), name


@pytest.fixture(scope="module")
def calls(stories: Bundle) -> list[Values]:
    """Return every value of the reference in a prefill and in a call behind it."""
    model = load(stories.graph)
    states = {
        value.name: np.zeros((1, value.shape[1] or 0, 0, value.shape[3] or 0), value.dtype)
        for value in model.graph.inputs
        if value.name != "input_ids"
    }
    found = []
    for past, tokens in ((0, PROMPT), (len(PROMPT), (432, 383, 286))):
        traced: list[Traced] = []
        feeds = {"input_ids": np.array([tokens], np.int64), **states}
        outputs = model.run(feeds, visit=traced.append)
        rows, total = np.arange(past, past + len(tokens)), past + len(tokens)
        found.append({
            **{each.name: each.rows for each in traced}, **feeds, **outputs,
            "past_length": np.array([past], np.int64), "position_ids": rows[None],
            "attention_mask": np.ones((1, total), np.int64),
            "visible": (rows[:, None] >= np.arange(total))[None, None, None],
        })  # fmt: skip
        states = {name: outputs[f"present.{name.partition('.')[2]}"] for name in states}
    return found


@pytest.mark.parametrize("runtime", PYTHONS)
@pytest.mark.parametrize("level", LEVELS)
def test_of_the_portable_graph_attention_and_a_float_head_alone_are_near(
    level: str, runtime: str, stories: Bundle, calls: list[Values], tmp_path: Path
) -> None:
    proto = onnx.load(stories.path / FILES[Flavour.PORTABLE])
    classes = check_parts(proto, calls, level, runtime, tmp_path / "parts")
    assert classes.keys() == {Exactness.BIT_EXACT, Exactness.NEAR}
    assert classes[Exactness.NEAR] == {"Attend", "DenseMatMul"}
    assert {"RmsNorm", "QuantizeRows", "TernaryMatMul", "Rescale"} <= classes[Exactness.BIT_EXACT]


@pytest.mark.parametrize("runtime", PYTHONS)
@pytest.mark.parametrize("level", LEVELS)
def test_function_bodies_are_as_exact(
    level: str, runtime: str, stories: Bundle, calls: list[Values], tmp_path: Path
) -> None:
    proto = onnx.load(stories.graph)
    classes = check_parts(proto, calls, level, runtime, tmp_path / "parts")
    assert classes[Exactness.NEAR] == {"Attend", "DenseMatMulBf16", "Relu"}


@pytest.mark.parametrize("runtime", PYTHONS)
@pytest.mark.parametrize(("table", "group"), [(Kind.SIGNS, 64), (Kind.INT8, 0), (Kind.FLOAT16, 0)])
def test_every_kind_of_layer_is_as_exact_as_it_says(
    table: Kind, group: int, runtime: str, tmp_path: Path
) -> None:
    """Groups, signs, int4, int8, int16 activations: the portable graph of the mixed network."""
    model = build(table, group)
    plan = lower(model, "p2r")
    writer = BitxWriter(tmp_path / "model.bitx", 7)
    facts = Facts(name="mixed", family="test")
    offsets = writer.add_model(plan, stored_matrices(model), facts)
    writer.finish()
    write_onnx(model, tmp_path / "model.onnx", "model.bitx", offsets, {})
    write_standard(model, tmp_path, Flavour.PORTABLE, {})
    ids = {"ids": np.array([0, 3, 31, 32, 49])}
    outputs, traced = load(tmp_path / "model.onnx").trace_network(ids)
    values = {**{each.name: each.rows for each in traced}, **outputs, **ids}
    for name in (FILES[Flavour.PORTABLE], "model.onnx"):
        proto = onnx.load(tmp_path / name)
        parts = tmp_path / f"parts of {name}"
        classes = check_parts(proto, [values], "as_loaded", runtime, parts)
        near = {op.removesuffix("F32").removesuffix("F16").removesuffix("Bf16")
                for op in classes[Exactness.NEAR]}  # fmt: skip
        assert near == {"DenseMatMul"}
        assert {node.domain for node in proto.graph.node} <= {"", DOMAIN}
