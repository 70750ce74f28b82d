"""The packed graph in onnxruntime with our kernels: the reference's bits, however it is run."""

from __future__ import annotations

import ctypes
import functools
import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from tests import mixed_network, networks
from tests.tiny_checkpoint import RAGGED, WIDE, Shape, write_checkpoint

import bitexport_ort
from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.checkpoints.onnx_file import read_onnx
from bitexport.checkpoints.weights import Weights
from bitexport.errors import BundleError
from bitexport.models.network.importing import build_network
from bitexport.models.parts.builder import Activations, GraphBuilder
from bitexport.models.parts.options import Options
from bitexport.ops import DOMAIN, DOMAIN_VERSION, Type, forms
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import find_target
from bitexport_ort.session import fuse_nodes
from bitexport_ref.evaluator import load

Array = NDArray[Any]
Write = Callable[..., Path]
Graph = Callable[[int], Path]

TOKENS = np.array([1, 3, 5, 7, 9, 11, 20, 40, 60, 80])
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int8)": np.int8}
LOGICAL = ("TernaryMatMul", "GroupMatMul", "GroupMatMulInt16", "GroupEmbed")
"""Forms whose weights have no layout yet: no file holds them."""

STANDARD = ("Relu", "Softmax")
"""Standard ops that a session opened for speed computes with our kernels."""

MIXED = [
    (Kind.SIGNS, 64, "p2r"), (Kind.TRITS, 32, "p2b"), (Kind.INT4, 32, "t5x3"),
    (Kind.FLOAT16, 0, "p16"), (Kind.INT8, 0, "p2r"), (Kind.FLOAT, 0, "p2r"),
    (Kind.BFLOAT16, 0, "p2r"),
]  # fmt: skip
MODELS = [
    (Shape(), Options()),
    (RAGGED, Options(embedding="q8", cache="f32")),
    (RAGGED, Options(activations="int16", layout="t5x3")),
    (WIDE, Options(layout="p2b")),
    (WIDE, Options(layout="p16", embedding="f32")),
    (RAGGED, Options(cache="int8")),
]


WriteNetwork = Callable[[Path], Path]
NETWORKS: tuple[WriteNetwork, ...] = (networks.write_rows, networks.write_pictures)


def imported(write: WriteNetwork, folder: Path) -> ir.Model:
    """Return a random network as it is read out of an ONNX file."""
    return build_network(read_onnx(write(folder / "network.onnx")), Options())[0]


@pytest.fixture(scope="module")
def model_graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """Return a function that gives the model.onnx of one of MODELS, built once."""
    folder = tmp_path_factory.mktemp("models")

    @functools.cache
    def build(at: int) -> Path:
        shape, options = MODELS[at]
        checkpoint = write_checkpoint(folder / f"tiny{at}", shape)
        return build_bundle(
            checkpoint.path, find_target("host"), options, folder / f"bundle{at}",
            Wanted(compile_library=False, self_test=False),
        ).graph  # fmt: skip

    return build


def ops_of_ours(model: onnx.ModelProto) -> set[str]:
    """Return the ops of our domain that a graph holds."""
    return {node.op_type for node in model.graph.node if node.domain == DOMAIN}


def library_ops(library: Path) -> set[str]:
    """Return the ops that a library says it has."""
    ask = ctypes.CDLL(str(library)).bitx_ort_form
    ask.restype, ask.argtypes = ctypes.c_char_p, [ctypes.c_size_t]
    return {name.decode() for name in iter(map(ask, itertools.count()).__next__, None)}


def session_of(model: Path | bytes, library: Path, threads: int = 1) -> Any:
    """Open a graph of which every op of ours has a kernel."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.register_custom_ops_library(str(library))
    source = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def without_bodies(graph: Path) -> Path:
    """Take out what onnxruntime would fall back to: an op without kernel is then an error."""
    model = onnx.load(graph, load_external_data=False)
    del model.functions[:]
    stripped = graph.with_name("stripped.onnx")
    stripped.write_bytes(model.SerializeToString())
    return stripped


def same_bits(found: Array, expected: Array) -> bool:
    """Whether two arrays are one, NaN and the sign of zero included."""
    return (
        found.dtype == expected.dtype
        and found.shape == expected.shape
        and found.tobytes() == expected.tobytes()
    )


def generate(session: Any, chunks: list[Array]) -> tuple[Array, dict[str, Array]]:
    """Feed tokens [batch, n] in chunks; return logits of all rows, and the caches."""
    names = [value.name for value in session.get_outputs()]
    states = {
        value.name: np.zeros(
            (len(chunks[0]), value.shape[1], 0, value.shape[3]), DTYPES[value.type]
        )
        for value in session.get_inputs()
        if value.name.startswith("past_key_values")
    }
    rows = []
    for chunk in chunks:
        found = dict(zip(names, session.run(None, {"input_ids": chunk, **states}), strict=True))
        states = {name: found[name.replace("past_key_values", "present")] for name in states}
        rows.append(found["logits"])
    return np.concatenate(rows, axis=1), states


@pytest.mark.parametrize(("table", "group", "layout"), MIXED)
def test_every_kind_of_layer_gives_the_bits_of_the_reference(
    table: Kind, group: int, layout: str, written: Write, custom_ops: Path
) -> None:
    graph = written(mixed_network.build(table, group), layout)
    reference = load(graph)
    stripped = without_bodies(graph)
    ids = np.array([0, 3, 31, 32, 49, 49, 7])
    expected = reference.run_network({"ids": ids})
    for threads, rows in itertools.product((1, 2), (1, 2, len(ids))):
        session = session_of(stripped, custom_ops, threads)
        found = session.run(None, {"ids": ids[:rows]})
        for value, array in zip(session.get_outputs(), found, strict=True):
            assert same_bits(array, expected[value.name][:rows]), (value.name, threads, rows)


@pytest.mark.parametrize("at", range(len(MODELS)))
def test_logits_and_caches_have_the_reference_s_bits_however_they_are_computed(
    at: int, custom_ops: Path, model_graph: Graph
) -> None:
    graph, shape = model_graph(at), MODELS[at][0]
    batch = np.stack([TOKENS, TOKENS[::-1], (TOKENS * 7 + 3) % shape.vocabulary])
    reference = load(graph)
    ways = [reference.session().run(row.astype(np.int32)) for row in batch]
    expected = np.stack([way.logits for way in ways])
    appended = [{traced.name: traced.rows for traced in way.trace} for way in ways]
    session = session_of(without_bodies(graph), custom_ops)
    threaded = session_of(graph, custom_ops, threads=3)
    for each, parts, count in itertools.product(
        (session, threaded), ([10], [4, 1, 5], [1] * 10), (1, 3)
    ):
        ends = list(itertools.accumulate(parts))
        chunks = [batch[:count, end - n : end] for n, end in zip(parts, ends, strict=True)]
        logits, states = generate(each, chunks)
        assert same_bits(logits, expected[:count]), (parts, count)
        for name, state in states.items():
            present = name.replace("past_key_values", "present")
            rows = state.transpose(0, 2, 1, 3).reshape(count, len(TOKENS), -1)
            for item in range(count):
                assert same_bits(np.ascontiguousarray(rows[item]), appended[item][present]), name


@pytest.mark.parametrize("write", NETWORKS)
@pytest.mark.usefixtures("_ours")
def test_networks_give_the_bits_of_the_reference(
    write: WriteNetwork, written: Write, tmp_path: Path
) -> None:
    graph = written(imported(write, tmp_path))
    reference = load(graph)
    (x,) = reference.graph.inputs
    rows = 3 if x.shape[0] is None else 1
    draw = np.random.default_rng(0)
    given = {x.name: draw.standard_normal((rows, *map(int, x.shape[1:]))).astype(np.float32)}
    expected = reference.run_network(given)
    session = bitexport_ort.open_session(graph)
    found = session.run(None, given)
    for value, array in zip(session.get_outputs(), found, strict=True):
        assert same_bits(array, expected[value.name]), value.name


def test_every_op_that_a_file_can_hold_has_a_kernel(custom_ops: Path) -> None:
    kernels = {name for name in library_ops(custom_ops) if not name.startswith("Fused")}
    assert {op for domain, op in forms() if domain == DOMAIN} - {*LOGICAL} == kernels - {*STANDARD}


def test_the_graphs_of_this_file_hold_every_op_of_the_library(
    written: Write, model_graph: Graph, custom_ops: Path, tmp_path: Path
) -> None:
    seen: set[str] = set()
    fused: set[str] = set()
    mixed = (written(mixed_network.build(*kind), layout) for *kind, layout in MIXED)
    read = (written(imported(write, tmp_path)) for write in NETWORKS)
    for graph in itertools.chain(mixed, read, map(model_graph, range(len(MODELS)))):
        model = onnx.load(graph, load_external_data=False)
        seen |= ops_of_ours(model)
        fuse_nodes(model)
        fused |= {op_type for op_type in ops_of_ours(model) if op_type.startswith("Fused")}
    assert seen | fused | {*STANDARD} == library_ops(custom_ops)


OLD = Path(sys.prefix) / "onnxruntime-1.20/bin/python"
"""An environment with the oldest onnxruntime that is promised; `.ci/setup test` makes it."""


@pytest.mark.parametrize("at", range(len(MODELS)))
def test_the_oldest_onnxruntime_gives_the_same_bits(
    at: int, custom_ops: Path, model_graph: Graph, tmp_path: Path
) -> None:
    assert OLD.exists(), f"no {OLD}: `.ci/setup test` makes it"
    graph = model_graph(at)
    expected = load(graph).session().run(TOKENS.astype(np.int32)).logits
    words = [OLD, Path(__file__).with_name("run_logits.py"), without_bodies(graph), custom_ops]
    said = subprocess.run(
        [*map(str, words), str(tmp_path / "logits"), *map(str, TOKENS)],
        capture_output=True, text=True, check=True, env={},
    )  # fmt: skip
    assert said.stdout.startswith("1.20.")
    assert (tmp_path / "logits").read_bytes() == expected.tobytes()


LARGE = """
import re, sys, numpy, onnxruntime
def resident(kind):
    return 1024 * int(re.search(rf"{kind}:\\s+(\\d+)", open("/proc/self/status").read())[1])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.register_custom_ops_library(sys.argv[2])
before = [resident(kind) for kind in ("RssAnon", "RssFile")]
session = onnxruntime.InferenceSession(sys.argv[1], options)
session.run(None, {"x": numpy.ones((1, 8192), numpy.float32)})
print(*(resident(kind) - was for kind, was in zip(("RssAnon", "RssFile"), before)))
"""


def test_weights_are_used_where_the_file_is_mapped(written: Write, custom_ops: Path) -> None:
    n = k = 8192
    builder = GraphBuilder("large", [("x", Type(ir.DataType.FLOAT, ("rows", k)))])
    trits = np.random.default_rng(1).integers(-1, 2, (n, k)).astype(np.int8)
    values = Matrix("w", Kind.TRITS, n, k, lambda start, stop: trits[start:stop])
    scale = Matrix("s", Kind.FLOAT, 1, 1, lambda start, stop: np.ones((1, 1), np.float32))
    x = Activations(builder, builder.input("x"), "x")
    y = builder.linear(x, Weights(values=values, scale=scale), "y", activations="int8")
    graph = written(builder.finish([y]))
    weights = n * k // 4
    said = subprocess.run(
        [sys.executable, "-c", LARGE, str(graph), str(custom_ops)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    own, mapped = map(int, said.stdout.split())
    assert mapped >= weights
    assert own < weights / 4, "a copy of the weights"


# ---- What is refused ------------------------------------------------------------------------


@pytest.fixture
def graph(written: Write) -> Path:
    return written(mixed_network.build(Kind.INT8, 0))


@pytest.mark.parametrize("token", [-1, mixed_network.VOCABULARY, 2**31, 2**32, -(2**32)])
def test_a_token_outside_the_vocabulary_is_refused(
    token: int, graph: Path, custom_ops: Path
) -> None:
    session = session_of(graph, custom_ops)
    with pytest.raises(Exception, match="EmbedQ8: a token is outside the vocabulary"):
        session.run(None, {"ids": np.array([0, token])})


def test_what_is_not_finite_is_refused(written: Write, custom_ops: Path) -> None:
    builder = GraphBuilder("quantizer", [("x", Type(ir.DataType.FLOAT, ("rows", 5)))])
    given = Activations(builder, builder.input("x"), "x").quantized("int8")
    session = session_of(written(builder.finish([given.q, given.scale])), custom_ops)
    for wrong in (np.nan, np.inf):
        x = np.array([[1, 2, 3, 4, 5], [1, wrong, 3, 4, 5]], np.float32)
        with pytest.raises(Exception, match="QuantizeRows: a value is NaN, infinite"):
            session.run(None, {"x": x})


@pytest.mark.parametrize(("wrong", "said"), [
    ({"k": 69}, "does not fit"), ({"n": 0}, "does not fit"), ({"n": -1}, "out of range"),
    ({"k": 2**40}, "out of range"), ({"n": 10**6}, "does not fit"),
])  # fmt: skip
def test_a_matrix_of_another_size_than_its_bytes_is_refused(
    wrong: dict[str, int], said: str, graph: Path, custom_ops: Path
) -> None:
    model = onnx.load(graph, load_external_data=False)
    node = next(node for node in model.graph.node if node.op_type == "TernaryMatMulP2R")
    for attribute in node.attribute:
        attribute.i = wrong.get(attribute.name, attribute.i)
    del model.graph.value_info[:]
    graph.write_bytes(model.SerializeToString())
    with pytest.raises(Exception, match=said):
        session_of(graph, custom_ops).run(None, {"ids": np.array([1])})


@pytest.mark.parametrize(("name", "numbers", "said"), [
    ("strides", [0, 1], "`strides` is out of range"), ("strides", [1], "`strides` is out of range"),
    ("pads", [0, -1, 0, 0], "`pads` is out of range"), ("picture", [2, 2], "does not fit"),
    ("kernel_shape", [255, 255], "`picture` is out of range"),
    ("dilations", [2**33, 1], "`dilations` is out of range"),
])  # fmt: skip
def test_a_window_that_is_none_is_refused(
    name: str, numbers: list[int], said: str, written: Write, custom_ops: Path, tmp_path: Path
) -> None:
    graph = written(imported(networks.write_pictures, tmp_path))
    model = onnx.load(graph, load_external_data=False)
    node = next(node for node in model.graph.node if node.op_type == "DepthwiseConv")
    for attribute in node.attribute:
        if attribute.name == name:
            attribute.ints[:] = numbers
    del model.graph.value_info[:]
    graph.write_bytes(model.SerializeToString())
    with pytest.raises(Exception, match=said):
        session_of(graph, custom_ops).run(None, {"x": np.zeros((1, 3, 7, 9), np.float32)})


def test_a_model_of_another_version_is_refused_in_a_sentence(
    graph: Path, custom_ops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bitexport_ort, "find_library", lambda model: custom_ops)
    options = onnxruntime.SessionOptions()
    assert bitexport_ort.register(options, graph) == custom_ops
    model = onnx.load(graph, load_external_data=False)
    model.graph.node[0].op_type = "EmbedQ9"
    graph.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=r"needs the op EmbedQ9; .* of another version"):
        bitexport_ort.register(options, graph)
    for each in model.opset_import:
        each.version = 2 if each.domain == DOMAIN else each.version
    graph.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=r"needs version 2 of the ops of ai\.bitexport; "):
        bitexport_ort.register(options, graph)


@pytest.mark.parametrize("python", ["new", "old"])
def test_the_library_itself_refuses_a_graph_of_another_version(
    python: str, graph: Path, custom_ops: Path, tmp_path: Path
) -> None:
    """As programs meet it that never heard of `bitexport_ort`: those in C, onnxruntime-genai."""
    model = onnx.load(graph, load_external_data=False)
    (node,) = [node for node in model.graph.node if node.op_type == "RmsNorm"]
    node.attribute.append(onnx.helper.make_attribute("domain_version", 2))
    graph.write_bytes(model.SerializeToString())
    words = [OLD if python == "old" else sys.executable, Path(__file__).with_name("run_logits.py")]
    said = subprocess.run(
        [*map(str, [*words, graph, custom_ops, tmp_path / "logits"]), "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode != 0
    assert "ai.bitexport RmsNorm: the graph has version 2 of the ops, this library version 1: " in (
        said.stderr
    )
    node.attribute[-1].i = DOMAIN_VERSION
    graph.write_bytes(model.SerializeToString())
    session_of(graph, custom_ops)


def test_every_node_is_of_the_version_that_the_graph_imports(graph: Path) -> None:
    """A node that says nothing is of version 1: the library goes by that."""
    model = onnx.load(graph, load_external_data=False)
    said = {
        {each.name: each.i for each in node.attribute}.get("domain_version", 1)
        for node in model.graph.node
        if node.domain == DOMAIN
    }
    assert said == {each.version for each in model.opset_import if each.domain == DOMAIN}


# ---- Sessions that are opened for speed -----------------------------------------------------


@pytest.fixture
def _ours(custom_ops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitexport_ort, "find_library", lambda model: custom_ops)


@pytest.mark.parametrize(("table", "group", "layout"), MIXED[:5])
@pytest.mark.usefixtures("_ours")
def test_fused_layers_give_the_bits_of_the_reference(
    table: Kind, group: int, layout: str, written: Write
) -> None:
    graph = written(mixed_network.build(table, group), layout)
    ids = np.array([0, 3, 31, 32, 49, 49, 7])
    expected = load(graph).run_network({"ids": ids})
    session = bitexport_ort.open_session(graph)
    for rows in (1, 2, len(ids)):
        found = session.run(None, {"ids": ids[:rows]})
        for value, array in zip(session.get_outputs(), found, strict=True):
            assert same_bits(array, expected[value.name][:rows]), (value.name, rows)


@pytest.mark.parametrize("at", range(len(MODELS)))
@pytest.mark.usefixtures("_ours")
def test_caches_in_place_give_the_bits_of_the_reference(at: int, model_graph: Graph) -> None:
    graph, shape = model_graph(at), MODELS[at][0]
    batch = np.stack([TOKENS, (TOKENS * 7 + 3) % shape.vocabulary])
    expected = np.stack([load(graph).session().run(row.astype(np.int32)).logits for row in batch])
    session = bitexport_ort.open_session(graph, cache=len(TOKENS))
    caches = [value for value in session.get_inputs() if value.name.startswith("past_key_values")]
    for parts in ([10], [4, 1, 5], [1] * 10):
        binding = session.io_binding()
        binding.bind_output("logits")  # the first of what it returns
        copied: dict[str, Array] = {}
        for value in caches:
            size = (len(batch), value.shape[1], len(TOKENS), value.shape[3])
            dtype = DTYPES[value.type]
            copied[value.name] = np.full(size, 99 if dtype is np.int8 else np.nan, dtype)
            buffer = onnxruntime.OrtValue.ortvalue_from_numpy(copied[value.name])
            binding.bind_ortvalue_input(value.name, buffer)
            binding.bind_ortvalue_output(value.name.replace("past_key_values", "present"), buffer)
        position = 0
        for count in parts:
            given = {
                "input_ids": np.ascontiguousarray(batch[:, position : position + count]),
                "past_length": np.array([position]),
            }
            binding.bind_output("logits")  # of another shape than before
            for name, array in given.items():
                binding.bind_cpu_input(name, array)
            session.run_with_iobinding(binding)
            wanted = expected[:, position : position + count]
            assert same_bits(binding.get_outputs()[0].numpy(), np.ascontiguousarray(wanted))
            found = session.run(None, given | copied)  # in memory of its own, zeros behind
            assert same_bits(found[0], np.ascontiguousarray(wanted))
            names = [value.name for value in session.get_outputs()]
            for value in caches:
                present = found[names.index(value.name.replace("past_key_values", "present"))]
                assert not present[:, :, position + count :].any()
                copied[value.name] = present
            position += count
        with pytest.raises(Exception, match="the context holds no further token"):
            session.run(None, given | copied | {"past_length": np.array([len(TOKENS)])})


@pytest.mark.usefixtures("_ours")
def test_standard_ops_give_the_bits_of_the_reference(written: Write) -> None:
    wide = Type(ir.DataType.FLOAT, ("rows", 7))
    builder = GraphBuilder("standard", [("a", wide), ("b", wide)])
    a, b = builder.input("a"), builder.input("b")
    relu = builder.op("Relu", [a], "relu")
    graph = written(
        builder.finish([relu, builder.op("Add", [relu, b], "sum"), builder.op("Mul", [a, b], "y")])
    )
    numbers = [-0.0, 0.0, 1e-40, -1e-40, 3e38, -1.5, 2.0]
    given = {
        "a": np.array([numbers, numbers[::-1]], np.float32),
        "b": np.array([[-0.0] * 7, [0.1, -1e-41, -0.0, 0.0, 7.0, 1e-5, -3e38]], np.float32),
    }
    expected = load(graph).run_network(given)
    found = bitexport_ort.open_session(graph).run(None, given)
    for name, array in zip(("relu", "sum", "y"), found, strict=True):
        assert same_bits(array, expected[name]), name


@pytest.mark.usefixtures("_ours")
def test_a_network_has_no_caches_to_share(graph: Path) -> None:
    with pytest.raises(BundleError, match="no language model"):
        bitexport_ort.open_session(graph, cache=16)
