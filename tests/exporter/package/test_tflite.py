"""The .tflite files: one op gives the reference's bits in LiteRT, ops of LiteRT come near."""

from __future__ import annotations

import builtins
import io
import json
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import interpreter
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate
from numpy.typing import NDArray
from tests.mixed_network import VOCABULARY
from tests.mixed_network import build as mixed_network
from tests.tiny_checkpoint import Checkpoint
from tests.tiny_families import write_family

import bitexport_ref.evaluator
from bitexport.checkpoints.checkpoint import open_checkpoint
from bitexport.emit import tflite_step
from bitexport.emit.bitx import BitxWriter
from bitexport.emit.manifest import DATA, GRAPH, Bundle
from bitexport.emit.onnx_graph import write_onnx
from bitexport.emit.tflite import TfliteGraph, packed_codes
from bitexport.emit.tflite_step import FILES, TfliteFlavour, write_custom, write_near
from bitexport.errors import CheckpointError, TargetError, ToolchainError
from bitexport.models import build_model
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.options import Options
from bitexport.models.parts.stored import stored_matrices
from bitexport.package import tflite
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.package.run_tflite import run_network
from bitexport.package.tflite import (
    deviate,
    refuse_model,
    refuse_tflite,
    run_here,
    run_in_old_runtime,
    write_tflite,
)
from bitexport.passes.pipeline import lower
from bitexport.passes.plan import Plan
from bitexport.progress import StreamProgress
from bitexport.targets import find_target
from bitexport.toolchain.litert import (
    DELEGATE,
    LAST_PYTHON,
    build_delegate,
    find_old_runtime,
)

ABOUT = {"version": "0"}
TOKENS = np.array([1, 5, 40, 7, 7, 90, 2, 33], np.int32)
NEAR: tuple[TfliteFlavour, ...] = ("int2", "int8")
WITHOUT_XNNPACK = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

# LiteRT's Python warns of its own names when a delegate or an interpreter is made.
pytestmark = pytest.mark.filterwarnings("ignore")


def lowered(path: Path) -> tuple[Any, Facts]:
    """Return the graph of a checkpoint as a build lowers it, and its facts."""
    model, facts = build_model(open_checkpoint(path), Options())
    lower(model, "p2r")
    return model, facts


def plan_of(path: Path) -> Plan:
    """Return the plan of a checkpoint."""
    return lower(build_model(open_checkpoint(path), Options())[0], "p2r")


def reference(graph: Path, tokens: NDArray[np.int32] = TOKENS) -> NDArray[np.float32]:
    """Return the logits of every token."""
    return bitexport_ref.evaluator.load(graph).session().run(tokens, trace=False).logits


@pytest.fixture(scope="module")
def delegate(host_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the delegate for this machine."""
    output = tmp_path_factory.mktemp("delegate") / DELEGATE
    return build_delegate(find_target("host"), host_bundle.path, output)


@pytest.fixture(scope="module")
def custom(tiny: Checkpoint, host_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a step as one op."""
    path = tmp_path_factory.mktemp("custom") / FILES["custom"]
    write_custom(path, host_bundle.data, plan_of(tiny.path), ABOUT)
    return path


@pytest.fixture(scope="module")
def near(
    tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[TfliteFlavour, Path]:
    """Return a step in ops of LiteRT, by flavour."""
    folder = tmp_path_factory.mktemp("near")
    model, facts = lowered(tiny.path)
    for flavour in NEAR:
        write_near(folder / FILES[flavour], model, facts, flavour, ABOUT)
    return {flavour: folder / FILES[flavour] for flavour in NEAR}


class Step:
    """The one op, asked for any tokens at any position."""

    def __init__(
        self, delegate: Path, model_path: Path | None = None, model_content: bytes | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        self.interpreter = Interpreter(
            str(model_path) if model_path else None, model_content,
            experimental_delegates=[load_delegate(str(delegate))], **options,
        )  # fmt: skip
        self.tokens, self.position = (
            each["index"] for each in self.interpreter.get_input_details()
        )
        (self.logits,) = (each["index"] for each in self.interpreter.get_output_details())

    def __call__(self, tokens: Sequence[int], position: int) -> NDArray[np.float32]:
        """Return the logits of the last token."""
        self.interpreter.resize_tensor_input(self.tokens, [len(tokens)])
        self.interpreter.allocate_tensors()
        self.interpreter.set_tensor(self.tokens, np.array(tokens, np.int32))
        self.interpreter.set_tensor(self.position, np.array([position], np.int32))
        self.interpreter.invoke()
        found: NDArray[np.float32] = self.interpreter.get_tensor(self.logits)[0]
        return found


# ---- one op ----------------------------------------------------------------------------------


def test_the_op_returns_the_bits_of_the_reference(
    custom: Path, delegate: Path, host_bundle: Bundle
) -> None:
    wanted = reference(host_bundle.graph)
    assert run_here(custom, TOKENS, delegate).tobytes() == wanted.tobytes()
    assert deviate(wanted, wanted).equal


@pytest.mark.parametrize("options", [
    {}, {"num_threads": 3}, {"experimental_op_resolver_type": WITHOUT_XNNPACK},
], ids=["default", "threads", "plain"])  # fmt: skip
def test_any_chunk_from_any_position_gives_the_same_bits(
    options: Mapping[str, Any], custom: Path, delegate: Path, host_bundle: Bundle
) -> None:
    wanted = reference(host_bundle.graph)
    step = Step(delegate, custom, **options)
    assert step(TOKENS[:5].tolist(), 0).tobytes() == wanted[4].tobytes()
    assert step(TOKENS[5:6].tolist(), 5).tobytes() == wanted[5].tobytes()
    assert step(TOKENS[2:].tolist(), 2).tobytes() == wanted[-1].tobytes()
    assert step(TOKENS[:1].tolist(), 0).tobytes() == wanted[0].tobytes()


def test_a_file_in_memory_and_two_at_once_give_the_same_bits(
    custom: Path, delegate: Path, host_bundle: Bundle
) -> None:
    wanted = reference(host_bundle.graph)
    first = Step(delegate, None, custom.read_bytes())
    second = Step(delegate, custom)
    for at, token in enumerate(TOKENS.tolist()):
        assert first([token], at).tobytes() == wanted[at].tobytes()
        assert second([token], at).tobytes() == wanted[at].tobytes()


def test_a_position_or_a_token_that_cannot_be_is_refused_by_name(
    custom: Path, delegate: Path
) -> None:
    step = Step(delegate, custom)
    step([1, 5], 0)
    for tokens, position, why in (
        ([1], 3, "beyond what the model has seen"), ([1], -1, "beyond what the model has seen"),
        ([10**6], 2, "token outside"), ([-1], 0, "token outside"), ([1] * 99, 0, "context full"),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=rf"ai\.bitexport\.Plan: .*{why}"):
            step(tokens, position)
    assert step([1, 5], 0).shape == (96,)


def test_a_plan_that_is_damaged_or_newer_is_refused(
    custom: Path, delegate: Path, host_bundle: Bundle
) -> None:
    data = bytearray(custom.read_bytes())
    at = data.find(host_bundle.data.read_bytes()[:8])
    assert at % 64 == 0
    for place, turned, why in (
        (at + 20_000, 1, "file not as its hash"), (at, 1, "not a .bitx file"),
        (at + 8, 2, "file too new"),
    ):  # fmt: skip
        changed = bytearray(data)
        changed[place] ^= turned
        with pytest.raises(RuntimeError, match=why):
            Step(delegate, None, bytes(changed))([1], 0)


def test_without_the_delegate_litert_names_the_op(custom: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ai\.bitexport\.Plan"):
        Interpreter(str(custom)).allocate_tensors()


def test_the_delegate_leaves_other_graphs_alone(
    near: Mapping[TfliteFlavour, Path], delegate: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = run_here(near["int2"], TOKENS)
        assert run_here(near["int2"], TOKENS, delegate).tobytes() == plain.tobytes()


def test_the_delegate_takes_no_options(delegate: Path) -> None:
    with pytest.raises(ValueError, match="the delegate takes no options"):
        load_delegate(str(delegate), {"speed": "more"})


# ---- a network -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the network of every kind of layer: graph, weights, and one op."""
    folder = tmp_path_factory.mktemp("network")
    model = mixed_network()
    plan = lower(model, "p2r")
    writer = BitxWriter(folder / DATA, 7)
    offsets = writer.add_model(plan, stored_matrices(model), Facts(name="mixed", family="test"))
    writer.finish()
    write_onnx(model, folder / GRAPH, DATA, offsets, {})
    write_custom(folder / FILES["custom"], folder / DATA, plan, ABOUT)
    return folder


@pytest.mark.parametrize("rows", [1, 5, 16, 40])
def test_a_network_returns_the_bits_of_the_reference(
    rows: int, network: Path, delegate: Path
) -> None:
    ids = np.random.default_rng(rows).integers(0, VOCABULARY, rows)
    wanted = bitexport_ref.evaluator.load(network / GRAPH).run_network({"ids": ids})
    given = {"ids": ids.astype(np.int32).reshape(-1, 1)}
    found = run_network(interpreter, str(network / FILES["custom"]), given, str(delegate))
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes(), name


def test_a_build_checks_a_network_and_refuses_its_near_forms(
    network: Path, delegate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = mixed_network()
    plan, facts = lower(model, "p2r"), Facts(name="mixed", family="test")
    stream = io.StringIO()
    progress = StreamProgress(stream)
    folder = Path(shutil.copytree(network, tmp_path / "network"))
    monkeypatch.setattr(tflite, "build_delegate", lambda *_: delegate)
    words = (folder, model, plan, facts, find_target("host"))
    assert write_tflite(*words, ("custom",), (), progress, compile_library=True) == {}
    assert "model_custom.tflite: every bit equal on 19 random inputs" in stream.getvalue()
    with pytest.raises(CheckpointError, match="`mixed` is no language model"):
        refuse_model(("int8",), model, facts)


def test_a_network_with_another_row_of_inputs_is_refused(network: Path, delegate: Path) -> None:
    given = {"ids": np.zeros((3, 2), np.int32)}
    with pytest.raises(RuntimeError, match="does not fit the plan"):
        run_network(interpreter, str(network / FILES["custom"]), given, str(delegate))


# ---- ops of LiteRT ---------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", NEAR)
def test_ops_of_litert_come_near_and_say_so(
    flavour: TfliteFlavour, near: Mapping[TfliteFlavour, Path], host_bundle: Bundle
) -> None:
    wanted = reference(host_bundle.graph)
    deviation = deviate(wanted, run_here(near[flavour], TOKENS))
    assert not deviation.equal
    assert deviation.kl < 2e-3
    assert deviation.top1 >= 7 / 8
    assert "_near" in near[flavour].name
    model = schema.ModelT.InitFromPackedBuf(near[flavour].read_bytes(), 0)
    assert model.description == b"bitexport, near: not bit-exact"
    (entry,) = (each for each in model.metadata if each.name == b"bitexport")
    said = json.loads(bytes(model.buffers[entry.buffer].data))
    assert said == {"version": "0", "flavour": flavour, "exactness": "near: not bit-exact"}


@pytest.mark.parametrize("flavour", NEAR)
def test_trits_are_stored_in_the_bits_that_the_name_says(
    flavour: TfliteFlavour, near: Mapping[TfliteFlavour, Path], tiny: Checkpoint
) -> None:
    model = schema.ModelT.InitFromPackedBuf(near[flavour].read_bytes(), 0)
    tensors = {tensor.name.decode(): tensor for tensor in model.subgraphs[0].tensors}
    kind = {"int2": schema.TensorType.INT2, "int8": schema.TensorType.INT8}[flavour]
    for name, trits in tiny.trits.items():
        tensor = tensors[f"{name}.weight"]
        assert (tensor.type, list(tensor.shape)) == (kind, list(trits.shape))
        data = np.asarray(model.buffers[tensor.buffer].data)
        if flavour == "int2":
            codes = data[:, None] >> np.array([0, 2, 4, 6], np.uint8) & np.uint8(3)
            found = codes.reshape(-1).astype(np.int8)
            found[found > 1] -= 4
        else:
            found = data.view(np.int8)
        assert np.array_equal(found.reshape(trits.shape), trits)
        assert tensor.quantization.scale[0] == tiny.floats[f"{name}.weight_scale"][0]


def test_a_two_bit_product_quantizes_its_input_as_bitnet_does(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    weights = draw.integers(-1, 2, (48, 200)).astype(np.int8)
    scale = np.array([0.05], np.float32)
    graph = TfliteGraph()
    x = graph.tensor("x", (1, 200))
    w = graph.constant("w", weights, scale, two_bits=True)
    y = graph.op("FULLY_CONNECTED", [x, w, -1], "y", (1, 48), {"asymmetricQuantizeInputs": False},
                 version=14, options_of="FullyConnectedOptions")  # fmt: skip
    graph.write(tmp_path / "one.tflite", {"x": x}, {"y": y}, {"exactness": "near"})
    given = draw.standard_normal((1, 200)).astype(np.float32)
    codes = np.rint(given * (127 / np.abs(given).max()))
    quantized = codes @ weights.T * (np.abs(given).max() / 127 * scale)
    for options in ({}, {"experimental_op_resolver_type": WITHOUT_XNNPACK}):
        found = Interpreter(str(tmp_path / "one.tflite"), **options).get_signature_runner()(x=given)
        assert np.abs(found["y"] - quantized).max() < 1e-5
        assert np.abs(found["y"] - given @ weights.T * scale).max() > 1e-3


def test_codes_of_two_bits_are_packed_lowest_first() -> None:
    assert packed_codes(np.array([1, 0, -1, -2, -1], np.int8)).tolist() == [0b10110001, 0b11]


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("llama", Options()), ("qwen2", Options()), ("bitnet_llama", Options(embedding="q8")),
        ("llama", Options(activations="int16", embedding="q8")),
    ],
    ids=["silu", "biases", "q8", "int16"],
)  # fmt: skip
def test_families_come_near(family: str, options: Options, tmp_path: Path) -> None:
    path = write_family(tmp_path / "model", family)
    wanted = Wanted(compile_library=False, self_test=False, tflite=NEAR)
    bundle = build_bundle(path, find_target("host"), options, tmp_path / "bundle", wanted)
    for name in (FILES[flavour] for flavour in NEAR):
        measured = bundle.manifest["measured"]["tflite"][name]
        assert 0 < measured["kl"] < 0.02
        assert name in bundle.manifest["files"]


def test_what_litert_cannot_say_is_refused_by_name(tmp_path: Path) -> None:
    path = write_family(tmp_path / "model", "qwen3")
    wanted = Wanted(compile_library=False, self_test=False, tflite=("int2",))
    options = Options(activations="int8-group")
    with pytest.raises(CheckpointError, match=r"LiteRT has nothing that computes `Quant") as no:
        build_bundle(path, find_target("host"), options, tmp_path / "bundle", wanted)
    assert no.value.hint == "--tflite custom takes every model"
    assert not (tmp_path / "bundle").exists()


def test_a_file_beyond_two_gigabytes_is_refused(
    tiny: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tflite_step, "MOST_BYTES", 20_000)
    with pytest.raises(CheckpointError, match=r"--tflite int8: the file would have 92,728 bytes"):
        refuse_model(("custom", "int8"), *lowered(tiny.path))


# ---- building --------------------------------------------------------------------------------


def test_building_twice_gives_the_same_files(tiny: Checkpoint, tmp_path: Path) -> None:
    wanted = Wanted(compile_library=False, self_test=False, tflite=("custom", *NEAR))
    files = []
    for name in "ab":
        bundle = build_bundle(tiny.path, find_target("arm64"), Options(), tmp_path / name, wanted)
        files.append({each: bundle.manifest["files"][each] for each in FILES.values()})
    assert files[0] == files[1]


def test_a_target_without_a_loader_is_refused() -> None:
    with pytest.raises(TargetError, match="no operating system that could load a delegate"):
        refuse_tflite(("custom",), find_target("cortex-m4"))
    refuse_tflite(NEAR, find_target("cortex-m4"))


def test_without_litert_one_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("ai_edge_litert"):
            raise ImportError(f"No module named {name!r}")
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ToolchainError, match="--tflite needs ai-edge-litert") as no:
        refuse_tflite(("int2",), find_target("host"))
    assert no.value.hint == "pip install 'bitexport[tflite]'"


# ---- tflite-runtime, the older one -----------------------------------------------------------


def test_the_older_runtime_comes_near_with_int8_and_has_the_bits_of_the_op(
    near: Mapping[TfliteFlavour, Path], custom: Path, delegate: Path, host_bundle: Bundle
) -> None:
    if sys.version_info[:2] > LAST_PYTHON:
        with pytest.raises(ToolchainError, match="is not supported by upstream"):
            run_in_old_runtime(near["int8"], TOKENS)
        return
    wanted = reference(host_bundle.graph)
    deviation = deviate(wanted, run_in_old_runtime(near["int8"], TOKENS))
    assert not deviation.equal
    assert deviation.kl < 2e-3
    assert run_in_old_runtime(custom, TOKENS, delegate).tobytes() == wanted.tobytes()
    with pytest.raises(ToolchainError, match="FULLY_CONNECTED"):
        run_in_old_runtime(near["int2"], TOKENS)


def test_newer_pythons_have_no_older_runtime() -> None:
    with pytest.raises(ToolchainError, match=r"not supported by upstream on Python 3\.12") as no:
        find_old_runtime((3, 12))
    assert "ai-edge-litert" in str(no.value.hint)
