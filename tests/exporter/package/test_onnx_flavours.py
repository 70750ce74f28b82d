"""One graph in three ways: files, classes, labels, deviation, and what decoder runtimes read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from tests import networks
from tests.tiny_checkpoint import Checkpoint

from bitexport.cli import main
from bitexport.emit.exactness import ONE_ROUNDING
from bitexport.emit.external_data import LARGE_ALIGNMENT, LARGE_BYTES
from bitexport.emit.manifest import Bundle, open_bundle
from bitexport.emit.onnx_standard import FILES, Flavour, data_file
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.package.deviation import deviation
from bitexport.report.bundle import describe
from bitexport.report.html import report_files
from bitexport.targets import find_target
from bitexport_ref.evaluator import load

ALL = tuple(Flavour)
NOT_BIT_EXACT = FILES[Flavour.ORT2BIT]


def build(path: Path, output: Path, *, embedding: str | None = None, tests: bool = True) -> Bundle:
    wanted = Wanted(
        compile_library=False, onnx=ALL, self_test=tests,
        describe=lambda built: report_files(describe(built)),
    )  # fmt: skip
    return build_bundle(
        path, find_target("arm64"), Options(embedding=embedding), output, wanted
    )  # fmt: skip


@pytest.fixture(scope="module")
def every(each: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build(each.path, tmp_path_factory.mktemp("every") / "bundle")


def graph(bundle: Bundle, flavour: Flavour) -> onnx.ModelProto:
    return onnx.load(bundle.path / FILES[flavour])


def test_packed_is_what_a_build_writes_unasked(bundles: dict[str, Bundle]) -> None:
    bundle = bundles["tiny"]
    assert [path.name for path in bundle.path.glob("*.onnx*")] == ["model.onnx"]
    assert list(bundle.manifest["onnx"]) == ["packed"]


def test_the_command_takes_several(
    tiny: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["build", tiny.path, "--target", "arm64", "--no-library", "-o", tmp_path / "out"]
    with pytest.raises(SystemExit) as left:
        main([*map(str, words), "--onnx", "portable", "--onnx", "ort2bit"])
    assert left.value.code in (0, None)
    assert set(open_bundle(tmp_path / "out").manifest["onnx"]) == set(ALL)
    assert f"{NOT_BIT_EXACT}, near: not bit-exact: mean KL" in capsys.readouterr().err


def test_the_portable_graph_is_of_standard_ops_typed_and_checked(every: Bundle) -> None:
    path = every.path / FILES[Flavour.PORTABLE]
    onnx.checker.check_model(path, full_check=True)
    proto = graph(every, Flavour.PORTABLE)
    assert {entry.domain: entry.version for entry in proto.opset_import} == {"": 21}
    assert not proto.functions
    typed = {value.name for value in (*proto.graph.value_info, *proto.graph.output)}
    assert {name for node in proto.graph.node for name in node.output} <= typed


def test_inputs_and_sizes_have_the_names_that_decoders_know(every: Bundle) -> None:
    session = onnxruntime.InferenceSession(every.path / FILES[Flavour.PORTABLE])
    inputs = {value.name: value.shape for value in session.get_inputs()}
    assert inputs["input_ids"] == inputs["position_ids"] == ["batch_size", "sequence_length"]
    assert inputs["attention_mask"] == ["batch_size", "total_sequence_length"]
    batch, _, past, _ = inputs["past_key_values.1.value"]
    assert (batch, past) == ("batch_size", "past_sequence_length")
    assert session.get_outputs()[0].name == "logits"
    assert session.get_outputs()[1].name == "present.0.key"


def test_every_node_has_its_class_and_the_manifest_their_sums(every: Bundle) -> None:
    for flavour in ALL:
        nodes: dict[str, int] = {}
        for node in graph(every, flavour).graph.node:
            said = {entry.key: entry.value for entry in node.metadata_props}
            found = said["bitexport.exactness"]
            nodes[found] = nodes.get(found, 0) + 1
            if flavour is not Flavour.PACKED:
                assert found == ("bit-exact" if node.op_type in ONE_ROUNDING else "near")
        assert every.manifest["onnx"][flavour]["nodes"] == nodes


def test_two_bits_say_everywhere_that_they_are_not_bit_exact(every: Bundle) -> None:
    proto = graph(every, Flavour.ORT2BIT)
    said = {entry.key: entry.value for entry in proto.metadata_props}
    assert "not_bit_exact" in NOT_BIT_EXACT
    assert said["bitexport.exactness"] == "near: not bit-exact"
    measured = every.manifest["onnx"]["ort2bit"]["deviation"]
    assert f"mean KL {measured['mean_kl']:.2e} nats" in said["bitexport.deviation"]
    page = (every.path / "report.html").read_text(encoding="utf-8")
    assert "near: not bit-exact" in page
    assert said["bitexport.deviation"] in page
    products = [node for node in proto.graph.node if node.op_type == "MatMulNBits"]
    assert len(products) == 14
    assert {entry.value for node in products for entry in node.metadata_props} >= {"near"}


def test_two_bits_hold_the_trits_and_their_scale(every: Bundle, each: Checkpoint) -> None:
    stored = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in graph(every, Flavour.ORT2BIT).graph.initializer
    }
    for name, trits in each.trits.items():
        codes, scales = stored[f"{name}.weight.codes"], stored[f"{name}.weight.scales"]
        n, k = trits.shape
        fields = codes.reshape(n, -1, 1) >> np.arange(0, 8, 2, dtype=np.uint8) & 3
        np.testing.assert_array_equal(fields.reshape(n, -1)[:, :k].astype(int) - 2, trits)
        assert len(np.unique(scales)) == 1


def test_the_portable_graph_holds_the_trits_columns_first(every: Bundle, each: Checkpoint) -> None:
    stored = {tensor.name: tensor for tensor in graph(every, Flavour.PORTABLE).graph.initializer}
    for name, trits in each.trits.items():
        found = onnx.numpy_helper.to_array(stored[f"{name}.weight"])
        np.testing.assert_array_equal(found, trits.T)


def test_data_begin_where_they_can_be_mapped(every: Bundle) -> None:
    for flavour in (Flavour.PORTABLE, Flavour.ORT2BIT):
        path = every.path / FILES[flavour]
        for tensor in onnx.load(path, load_external_data=False).graph.initializer:
            said = {entry.key: entry.value for entry in tensor.external_data}
            if said:
                assert said["location"] == data_file(flavour)
                large = int(said["length"]) >= LARGE_BYTES
                assert int(said["offset"]) % (LARGE_ALIGNMENT if large else 64) == 0


def test_int8_matrices_are_raised_so_that_no_processor_cuts_sums_off(
    tiny: Checkpoint, tmp_path: Path
) -> None:
    bundle = build(tiny.path, tmp_path / "out", embedding="q8")
    proto = graph(bundle, Flavour.PORTABLE)
    (table,) = [t for t in proto.graph.initializer if t.name == "model.embed_tokens.weight"]
    assert table.data_type == onnx.TensorProto.UINT8
    measured = bundle.manifest["onnx"]["portable"]["deviation"]
    assert measured["same_choice"] == measured["tokens"]


def test_the_folder_describes_itself_to_decoder_runtimes(
    every: Bundle, bundles: dict[str, Bundle]
) -> None:
    said = json.loads((every.path / "genai_config.json").read_text(encoding="utf-8"))["model"]
    assert said["type"] == "decoder"
    assert said["decoder"]["filename"] == FILES[Flavour.PORTABLE]
    assert said["decoder"]["inputs"]["attention_mask"] == "attention_mask"
    packed = json.loads((bundles["tiny"].path / "genai_config.json").read_text(encoding="utf-8"))
    assert packed["model"]["decoder"]["filename"] == "model.onnx"
    assert "attention_mask" not in packed["model"]["decoder"]["inputs"]
    assert "custom_ops_library" not in packed["model"]["decoder"]["session_options"]
    config = json.loads((every.path / "config.json").read_text(encoding="utf-8"))
    facts = every.manifest["model"]
    assert config["num_key_value_heads"] == facts["kv_heads"]
    assert config["head_dim"] == facts["head_size"]
    assert config["model_type"] == "llama"


def test_without_a_self_test_nothing_is_run_and_that_is_said(
    tiny: Checkpoint, tmp_path: Path
) -> None:
    bundle = build(tiny.path, tmp_path / "out", tests=False)
    said = bundle.manifest["onnx"]["portable"]
    assert (said["deviation"], said["unmeasured"]) == (None, "there is no self-test")


def test_building_twice_gives_the_same_bytes(
    every: Bundle, each: Checkpoint, tmp_path: Path
) -> None:
    again = build(each.path, tmp_path / "again")
    assert again.manifest["files"] == every.manifest["files"]


def test_a_runtime_that_breaks_leaves_a_build_whole_and_says_why(
    tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "runner.py"
    broken.write_text("raise MemoryError('no room')", encoding="utf-8")
    monkeypatch.setattr("bitexport.package.deviation.RUNNER", broken)
    bundle = build(tiny.path, tmp_path / "out")
    said = bundle.manifest["onnx"]["portable"]
    assert said["deviation"] is None
    assert said["unmeasured"].startswith("onnxruntime ")
    assert said["unmeasured"].endswith("does not run it: MemoryError: no room")


def test_deviation_of_equal_logits_is_nothing() -> None:
    logits = np.linspace(-3, 3, 20, dtype=np.float32).reshape(4, 5)
    found = deviation(logits, logits)
    assert (found.max_abs, found.max_kl, found.positions_equal, found.same_choice) == (0, 0, 4, 4)
    moved = deviation(logits + np.float32([0, 0, 0, 0, -3]), logits)
    assert moved.mean_kl > 0.1
    assert moved.max_abs == 3
    assert moved.same_choice == 0


# ---- Other models ---------------------------------------------------------------------------


def test_a_kv_cache_of_int8_is_as_near_in_standard_ops(tiny: Checkpoint, tmp_path: Path) -> None:
    wanted = Wanted(compile_library=False, onnx=(Flavour.PORTABLE,))
    options = Options(cache="int8")
    bundle = build_bundle(tiny.path, find_target("arm64"), options, tmp_path / "out", wanted)
    found = bundle.manifest["onnx"]["portable"]["deviation"]
    assert found["mean_kl"] < 1e-6


@pytest.mark.parametrize("write", [networks.write_rows, networks.write_pictures])
def test_a_portable_network_is_equal_but_for_its_softmax(
    write: Callable[[Path], Path], tmp_path: Path
) -> None:
    wanted = Wanted(compile_library=False, onnx=(Flavour.PORTABLE,))
    path = write(tmp_path / "network.onnx")
    bundle = build_bundle(path, find_target("arm64"), Options(), tmp_path / "out", wanted)
    reference = load(bundle.graph)
    (x,) = reference.graph.inputs
    rows = 3 if x.shape[0] is None else 1
    shape = (rows, *map(int, x.shape[1:]))
    given = {x.name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    expected = reference.run_network(given)
    proto = graph(bundle, Flavour.PORTABLE)
    made_by = {node.output[0]: node.op_type for node in proto.graph.node}
    session = onnxruntime.InferenceSession(
        bundle.path / FILES[Flavour.PORTABLE], providers=["CPUExecutionProvider"]
    )
    for value, found in zip(session.get_outputs(), session.run(None, given), strict=True):
        if made_by[value.name] == "Softmax":
            np.testing.assert_allclose(found, expected[value.name], rtol=2e-6)
        else:
            assert found.tobytes() == expected[value.name].tobytes()


def test_two_bits_are_not_for_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = networks.write_rows(tmp_path / "rows.onnx")
    words = ["build", path, "--target", "arm64", "--onnx", "ort2bit", "-o", tmp_path / "out"]
    with pytest.raises(SystemExit) as left:
        main(list(map(str, words)))
    assert left.value.code == 3
    assert "--onnx ort2bit is for language models, `rows` is a network" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
