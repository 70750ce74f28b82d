"""`verify --runtime onnxruntime` of networks: a real onnxruntime, of arm64 too, gives every bit."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from tests.networks import write_pictures, write_rows

from bitexport.cli import main
from bitexport.emit.manifest import open_bundle
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import Target, find_target
from bitexport.toolchain.compile import Library
from bitexport.verify.expected import load_reference
from bitexport.verify.graph import GraphWay
from bitexport.verify.inputs import fixed_inputs
from bitexport.verify.network_graph import (
    NetworkGraphMachine,
    network_graph_machine,
    verify_network_graph,
)
from bitexport.verify.networks import ExpectedNetwork, compute_network, network_difference
from bitexport_ort.session import fuse_nodes

ROOT = Path(__file__).parents[2]
NETWORKS = ("digits", "TFC_2W2A", "rows", "pictures")
Open = Callable[[str, str], tuple[Path, ExpectedNetwork]]


@pytest.fixture(scope="module")
def opened(
    tmp_path_factory: pytest.TempPathFactory, libraries: Callable[[Target], Library]
) -> Open:
    """Return a function that builds a network for a target, and what the reference makes of it."""
    folder = tmp_path_factory.mktemp("network-graphs")
    paths = {
        "digits": ROOT / "samples/digits/digits.onnx",
        "TFC_2W2A": ROOT / "tests/data/networks/TFC_2W2A.onnx",
        "rows": write_rows(folder / "rows.onnx"),
        "pictures": write_pictures(folder / "pictures.onnx"),
    }
    built: dict[tuple[str, str], tuple[Path, ExpectedNetwork]] = {}

    def build(name: str, target_name: str) -> tuple[Path, ExpectedNetwork]:
        if (name, target_name) not in built:
            target, path = find_target(target_name), folder / f"{name}-{target_name}"
            wanted = Wanted(compile_library=False, self_test=False)
            model = load_reference(build_bundle(paths[name], target, Options(), path, wanted).graph)
            lies = path / "lib" / target_name
            lies.mkdir(parents=True)
            shutil.copy(libraries(target).archive, lies)
            built[name, target_name] = path, compute_network(model, fixed_inputs(model))
        return built[name, target_name]

    return build


@contextmanager
def machine_of(
    opened: Open, name: str, target: str, given: Path | None = None
) -> Iterator[tuple[NetworkGraphMachine, ExpectedNetwork]]:
    """Give what runs a network's graph, and what is expected of it."""
    path, expected = opened(name, target)
    with network_graph_machine(open_bundle(path), find_target(target), expected, given) as device:
        yield device, expected


@pytest.mark.parametrize("name", NETWORKS)
def test_every_op_output_of_a_network_is_equal_on_this_machine(name: str, opened: Open) -> None:
    with machine_of(opened, name, "host") as (device, expected):
        result = verify_network_graph(device, "native", expected, lambda line: None)
        assert result.passed, result
        model = onnx.load(device.graph, load_external_data=False)
        fuse_nodes(model)
        is_fused = any(node.op_type.startswith("Fused") for node in model.graph.node)
        assert is_fused or name == "TFC_2W2A"  # between thresholds there is nothing to fuse
        fused = device.folder / "fused.onnx"
        fused.write_bytes(model.SerializeToString())
        way = GraphWay(chunk=1)
        observed = dataclasses.replace(device, graph=fused).start("native", way, expected)
    assert network_difference(expected, observed, traced=False) is None
    assert result.compared >= 2 * sum(map(len, expected.digests))


@pytest.mark.parametrize(("name", "core", "isa"), [
    ("digits", "cortex-a53", "neon"), ("digits", "cortex-a76", "dotprod"),
    ("TFC_2W2A", "cortex-a53", "neon"), ("TFC_2W2A", "cortex-a76", "dotprod"),
])  # fmt: skip
def test_every_op_output_of_a_network_is_equal_in_the_onnxruntime_of_arm64(
    name: str, core: str, isa: str, opened: Open, arm64_wheel: Path
) -> None:
    with machine_of(opened, name, "arm64", arm64_wheel) as (device, expected):
        result = verify_network_graph(device, core, expected, lambda line: None, quick=True)
    assert result.passed, result
    assert result.isa == isa
    assert result.compared == sum(map(len, expected.digests))


def test_other_bits_are_found_in_an_op_and_in_a_result(opened: Open) -> None:
    with machine_of(opened, "TFC_2W2A", "host") as (device, expected):
        digests = [list(rows) for rows in expected.digests]
        digests[3][2] = digests[3][1]
        wrong = dataclasses.replace(expected, digests=tuple(map(tuple, digests)))
        in_op = verify_network_graph(device, "native", wrong, lambda line: None)
        results = {name: -array for name, array in expected.results.items()}
        other = dataclasses.replace(expected, results=results)
        in_result = verify_network_graph(device, "native", other, lambda line: None)
    assert in_op.failure
    assert (in_op.failure[1].position, in_op.failure[1].output) == (2, 3)
    assert in_result.failure
    assert in_result.failure[1].returned
    assert not in_result.passed


def test_without_our_kernels_a_network_does_not_run(opened: Open) -> None:
    with machine_of(opened, "TFC_2W2A", "host") as (device, expected):
        stock = dataclasses.replace(device, ops=Path("-"))
        refused = verify_network_graph(stock, "native", expected, lambda line: None)
    assert "is not a registered function/op" in str(refused.failure)


def test_the_command_takes_a_network(tmp_path: Path) -> None:
    network = write_rows(tmp_path / "rows.onnx")
    wanted = Wanted(self_test=False, custom_ops=True)
    build_bundle(network, find_target("host"), Options(), tmp_path / "out", wanted)
    words = ["verify", str(tmp_path / "out"), "--runtime", "onnxruntime"]
    said = CliRunner().invoke(main, words)
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith("native       equal  onnxruntime, ")
    assert "5 samples, " in said.stdout
    (core,) = json.loads(CliRunner().invoke(main, [*words, "--quick", "--json"]).stdout)["cores"]
    assert core["passed"]
    assert core["runs"] == 1
