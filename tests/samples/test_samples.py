"""Each sample builds, and says what its sample.toml declares, here and on an emulated core."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from bitexport.bench.count import build_plugin, counting, read_marks
from bitexport.cli import main
from bitexport.emit.manifest import open_bundle
from bitexport.targets import find_target
from bitexport.toolchain.compile import build_runner, find_library
from bitexport.toolchain.emulate import run

SAMPLES = sorted(
    path.parent for path in (Path(__file__).parents[2] / "samples").glob("*/sample.toml")
)


@pytest.fixture(scope="module", params=SAMPLES, ids=lambda path: path.name)
def sample(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Return the bundle of each sample for arm64, and what is declared of it."""
    folder: Path = request.param
    said = tomllib.loads((folder / "sample.toml").read_text(encoding="utf-8"))
    bundle = tmp_path_factory.mktemp(folder.name) / "out"
    checkpoint = str(folder / said["checkpoint"])
    result = CliRunner().invoke(main, ["build", checkpoint, "--target", "arm64", "-o", str(bundle)])
    assert result.exit_code == 0, result.output
    return bundle, said


def test_there_is_a_sample() -> None:
    assert [path.name for path in SAMPLES] == ["stories"]


@pytest.mark.parametrize("where", [[], ["--core", "cortex-a76"], ["--threads", "2"]])
def test_it_says_what_is_declared(sample: tuple[Path, dict[str, Any]], where: list[str]) -> None:
    bundle, said = sample
    command = ["run", str(bundle), said["prompt"], "-n", str(said["tokens"]), *where]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert result.stdout == said["text"].strip("\n") + "\n"


def test_every_core_returns_the_reference_bits(sample: tuple[Path, dict[str, Any]]) -> None:
    result = CliRunner().invoke(main, ["verify", str(sample[0])])
    assert result.exit_code == 0, result.output
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["equal"] * 3


def test_the_self_test_takes_less_than_half_a_billion_instructions(
    sample: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Op by op with every chain, then as a session runs: README says what that is in seconds."""
    target, bundle = find_target("arm64"), open_bundle(sample[0])
    library = find_library(target, bundle.path)
    program = build_runner(target, library, bundle.path, tmp_path / "runner")
    plugin, log = build_plugin(tmp_path), tmp_path / "marks.txt"
    counts = counting(target, plugin, log, ("bitx_self_test", "runner_write"))
    done = run(counts, "cortex-a53", program, [str(bundle.data), "--self-test"])
    assert done.stdout.endswith("self-test ok\nend\n")
    marks = read_marks(log)
    begin = next(count for count, name in marks if name == "bitx_self_test")
    assert 100_000_000 < marks[-1][0] - begin < 500_000_000


def test_the_repository_with_device_tests_passes_what_its_workflow_runs(
    sample: tuple[Path, dict[str, Any]], repository: Path, tmp_path: Path
) -> None:
    """Its build is the one of `sample`; what installs is compared, not run."""
    folder = Path(shutil.copytree(repository / "samples/device-ci", tmp_path / "repository"))
    shutil.copytree(sample[0], folder / "out")
    workflow = yaml.safe_load((folder / ".github/workflows/device.yml").read_text("utf-8"))
    install, pip, build, test = [
        step["run"] for step in workflow["jobs"]["device"]["steps"] if "run" in step
    ]
    needed = {*find_target("arm64").debian, *find_target("host").debian}
    assert needed <= set(install.split())
    assert pip == "pip install --find-links wheels bitexport pytest pytest-xdist"
    assert build.split() == ["bitexport", "build", "model", "--target", "arm64", "-o", "out"]
    program, *words = shlex.split(test)
    assert program == "pytest"
    installed = importlib.metadata.entry_points(group="pytest11", name="bitexport")
    plugin = [] if installed else ["-p", "bitexport.testing.pytest_plugin"]
    paths = [str(repository / "exporter"), str(repository / "runtime_ref")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, *words], cwd=folder, capture_output=True,
        text=True, check=False, env=os.environ | {"PYTHONPATH": ":".join(paths)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "11 passed" in done.stdout
    assert not list(folder.glob("replays/**/*.npz"))
