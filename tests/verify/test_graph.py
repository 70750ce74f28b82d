"""`verify --runtime onnxruntime`: a real onnxruntime, also of arm64, gives the reference's bits."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from tests.runtimes.conftest import follow
from tests.tiny_checkpoint import Shape, write_checkpoint

import bitexport_ort
from bitexport.cli import main
from bitexport.emit.manifest import Bundle
from bitexport.errors import BundleError, ToolchainError
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import find_target
from bitexport.toolchain.onnxruntime import OPS_LIBRARY, onnxruntime_library
from bitexport.verify.expected import Expected, compute_expected, load_reference
from bitexport.verify.graph import GraphWay, graph_difference, graph_machine, verify_graph
from bitexport_ort.session import fuse_nodes

PROMPT = [1, 7, 5, 90, 2]
OLD_ENVIRONMENT = Path(sys.prefix) / "onnxruntime-1.20"
"""Of the oldest onnxruntime that is promised; `.ci/setup test` makes it."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """Return a function that builds a tiny model for a target, once."""
    folder = tmp_path_factory.mktemp("graph")
    tiny = write_checkpoint(folder / "tiny", Shape())
    built: dict[str, Bundle] = {}

    def build(target: str) -> Bundle:
        if target not in built:
            built[target] = build_bundle(
                tiny.path, find_target(target), Options(), folder / target,
                Wanted(self_test=False, custom_ops=True),
            )  # fmt: skip
        return built[target]

    return build


def verified(bundle: Bundle, *words: object) -> dict[str, object]:
    """Return the report of a `bitexport verify --runtime onnxruntime` that finds all equal."""
    ids = ",".join(map(str, PROMPT))
    command = ["verify", bundle.path, "--runtime", "onnxruntime", "--ids", ids, "-n", 3, "--json"]
    result = CliRunner().invoke(main, [str(word) for word in (*command, *words)])
    assert result.exit_code == 0, result.output
    report: dict[str, object] = json.loads(result.stdout)
    return report


def test_every_op_output_is_equal_on_this_machine(bundles: Callable[[str], Bundle]) -> None:
    (core,) = verified(bundles("host"))["cores"]
    assert core["passed"]
    assert core["isa"] == find_target("host").expected_isas("native")[-1]
    assert core["runs"] == 6


def test_every_op_output_is_equal_in_the_oldest_onnxruntime(
    bundles: Callable[[str], Bundle],
) -> None:
    (library,) = OLD_ENVIRONMENT.glob("lib/python3.*/site-packages/onnxruntime/capi/lib*.so.1.20.1")
    (core,) = verified(bundles("host"), "--onnxruntime", library)["cores"]
    assert core["passed"]
    assert core["runs"] == 6


@pytest.mark.parametrize(("name", "isa"), [("cortex-a53", "neon"), ("cortex-a76", "dotprod")])
def test_every_op_output_is_equal_in_the_onnxruntime_of_arm64(
    name: str, isa: str, bundles: Callable[[str], Bundle], arm64_wheel: Path
) -> None:
    (core,) = verified(bundles("arm64"), "--core", name, "--onnxruntime", arm64_wheel)["cores"]
    assert core["passed"]
    assert core["isa"] == isa
    outputs = len(load_reference(bundles("arm64").graph).plan)
    assert core["compared"] > 2 * outputs * (len(PROMPT) + 2)


@pytest.fixture(scope="module")
def expected(bundles: Callable[[str], Bundle]) -> Expected:
    """Return what the reference computes."""
    return compute_expected(load_reference(bundles("host").graph), PROMPT, 3)


@pytest.mark.parametrize("core", ["cortex-a53", "cortex-a76"])
def test_fused_ops_are_equal_in_the_onnxruntime_of_arm64(
    core: str, bundles: Callable[[str], Bundle], expected: Expected, arm64_wheel: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    model = onnx.load(bundles("arm64").graph, load_external_data=False)
    fuse_nodes(model)
    assert any(node.op_type.startswith("Fused") for node in model.graph.node)
    fused = tmp_path / "fused.onnx"
    fused.write_bytes(model.SerializeToString())
    target = find_target("arm64")
    with graph_machine(bundles("arm64"), target, expected, arm64_wheel) as device:
        way = GraphWay(chunk=3, threads=2)
        observed = dataclasses.replace(device, graph=fused).start(core, way, expected)
    assert graph_difference(expected, observed, device.outputs) is None


def test_a_row_of_other_bits_is_found(bundles: Callable[[str], Bundle], expected: Expected) -> None:
    output, position = 20, 4
    digests = [list(rows) for rows in expected.digests]
    digests[output][position] = digests[output][position - 1]
    other = dataclasses.replace(expected, digests=tuple(map(tuple, digests)))
    with graph_machine(bundles("host"), find_target("host"), other, None) as device:
        result = verify_graph(device, "native", other, lambda line: None)
    assert result.failure
    way, difference = result.failure
    assert (way.whole, difference.position, difference.output) == (True, position, output)
    assert not result.passed


def test_bodies_in_place_of_kernels_do_not_pass(
    bundles: Callable[[str], Bundle], expected: Expected
) -> None:
    """Their floats are only near: the verifier would see a library that nobody asks."""
    with graph_machine(bundles("host"), find_target("host"), expected, None) as device:
        stock = dataclasses.replace(device, ops=Path("-"))
        observed = stock.start("native", GraphWay(chunk=len(PROMPT)), expected)
        refused = verify_graph(stock, "native", expected, lambda line: None)
    assert graph_difference(expected, observed, device.outputs)
    assert "is not a registered function/op" in str(refused.failure)


def test_weights_behind_a_link_out_of_the_folder_are_refused(
    bundles: Callable[[str], Bundle], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(bundles("host").path, tmp_path / "copy"))
    (copy / "model.bitx").rename(tmp_path / "model.bitx")
    (copy / "model.bitx").symlink_to(tmp_path / "model.bitx")
    result = CliRunner().invoke(main, ["verify", str(copy), "--runtime", "onnxruntime"])
    assert result.exit_code == 1
    said = f"{copy / 'model.bitx'}: is a symbolic link to a file in {tmp_path}"
    assert said in result.output
    assert "hint: copy the bundle with its files" in result.output


def test_what_onnxruntime_says_is_one_line(
    bundles: Callable[[str], Bundle], expected: Expected, tmp_path: Path
) -> None:
    with graph_machine(bundles("host"), find_target("host"), expected, None) as device:
        moved = dataclasses.replace(device, folder=tmp_path)
        result = verify_graph(moved, "native", expected, lambda line: None)
    assert "was not computed: the run stopped: status 1 session: " in str(result.failure)


def test_a_bundle_ships_the_library_that_is_run(bundles: Callable[[str], Bundle]) -> None:
    for name in ("host", "arm64"):
        assert f"lib/{name}/{OPS_LIBRARY}" in bundles(name).manifest["files"]


def test_a_bundle_with_the_library_opens_in_onnxruntime_genai_as_it_is(
    bundles: Callable[[str], Bundle], tmp_path: Path
) -> None:
    runs = follow(bundles("host"), tmp_path, PROMPT, 8)
    assert runs.genai(bundles("host").path)["tokens"] == list(runs.chosen)
    assert runs.found().tobytes() == runs.logits.tobytes()
    said = json.loads((bundles("arm64").path / "genai_config.json").read_text(encoding="utf-8"))
    options = said["model"]["decoder"]["session_options"]
    assert options["custom_ops_library"] == f"lib/arm64/{OPS_LIBRARY}"


def test_the_library_in_a_bundle_is_found_if_it_is_the_one_that_was_built(
    bundles: Callable[[str], Bundle], tmp_path: Path
) -> None:
    shipped = bundles("host").path / "lib/host" / OPS_LIBRARY
    assert bitexport_ort.find_library(bundles("host").path) == shipped
    assert bitexport_ort.find_library(bundles("host").graph) == shipped
    copy = Path(shutil.copytree(bundles("host").path, tmp_path / "copy"))
    (copy / "lib/host" / OPS_LIBRARY).write_bytes(shipped.read_bytes() + b" ")
    with pytest.raises(BundleError, match="is not the file that was built"):
        bitexport_ort.find_library(copy)


def test_a_library_is_compiled_where_a_bundle_ships_none_for_this_machine(
    bundles: Callable[[str], Bundle],
) -> None:
    graph = bundles("arm64").graph
    options = onnxruntime.SessionOptions()
    library = bitexport_ort.register(options, graph)
    assert not library.is_relative_to(bundles("arm64").path)
    session = onnxruntime.InferenceSession(str(graph), options, ["CPUExecutionProvider"])
    assert session.get_outputs()[0].name == "logits"
    assert bitexport_ort.find_library() == library


def test_a_target_without_onnxruntime_here_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError) as caught:
        onnxruntime_library(find_target("arm64"), None, tmp_path)
    assert "--platform manylinux_2_28_aarch64 onnxruntime" in str(caught.value.hint)
    with pytest.raises(ToolchainError, match="no such file"):
        onnxruntime_library(find_target("arm64"), tmp_path / "missing.whl", tmp_path)
    here = onnxruntime_library(find_target("host"), None, tmp_path)
    with pytest.raises(ToolchainError, match="is no library for target `arm64`"):
        onnxruntime_library(find_target("arm64"), here, tmp_path)
    empty = tmp_path / "empty.whl"
    empty.write_bytes(b"")
    with pytest.raises(ToolchainError, match="is no wheel of onnxruntime"):
        onnxruntime_library(find_target("host"), empty, tmp_path)


def test_a_target_that_onnxruntime_does_not_run_on_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["build", "x", "--target", "cortex-m4", "--custom-ops", "-o", str(tmp_path / "out")]
    )
    assert result.exit_code == 2
    assert "onnxruntime is not published for target `cortex-m4`" in result.output
