"""Builds and verifies checkpoints of published sizes, and prints what it took: time, memory, bytes.

    python -m tests.full_size.measure                 every model; 10 GB of disk, some minutes
    python -m tests.full_size.measure 2b4t --core native
    python -m tests.full_size.measure 2b4t --reference   how fast the reference is

Each step runs in a process of its own, whose `ru_maxrss` is the peak.  The checkpoint is generated
(tests/full_size/generate.py) and removed with the bundle.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from tests.full_size.generate import MODELS, TOYS, Model, generate

from bitexport.cli import main as bitexport
from bitexport.emit.manifest import DATA, GRAPH
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.progress import Advance, Silent
from bitexport.report.bundle import describe
from bitexport.report.html import report_files
from bitexport.targets import find_target
from bitexport_ref.bitx import open_bitx
from bitexport_ref.bitx_records import Layout
from bitexport_ref.evaluator import load as load_reference

TARGET_OF = {"native": "host", "cortex-a76": "arm64"}
REFERENCE_TOKENS = 64
FREE_BYTES = 10 << 30  # the largest checkpoint and its bundle, and room to breathe
REPOSITORY = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildCost:
    """What a build took; seconds by stage, bytes for the rest."""

    checkpoint: int
    seconds: Mapping[str, float]
    """By stage; `build` is all of it but the self-test."""
    peak_before_self_test: int
    peak: int
    data: int
    packed: int
    """Of `data`, the matrices in a packed layout."""
    bundle: int
    """Every file of the bundle."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyCost:
    """What `verify --quick` took on a core."""

    core: str
    seconds: float
    peak: int
    """Of the process that holds the reference; an emulator has its own."""
    positions: int
    op_outputs: int
    passed: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReferenceCost:
    """What the reference took to append tokens at once, with the logits of the last."""

    tokens: int
    cpu_seconds: float
    """Of all its threads: a busy machine does not change it much."""
    seconds: float
    peak: int


class Recorder(Silent):
    """Notes how long each stage took, and the peak of memory when the self-test begins."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peak_before_self_test = 0

    @contextlib.contextmanager
    def stage(self, name: str, total: int = 0, unit: str = "bytes") -> Iterator[Advance]:
        """Time a stage."""
        if name == "self-test":
            self.peak_before_self_test = peak_bytes()
        start = time.monotonic()
        yield lambda done: None
        self.seconds[name] = time.monotonic() - start


def peak_bytes() -> int:
    """Return the most memory that this process had resident."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)


def build(checkpoint: Path, target: str, output: Path) -> BuildCost:
    """Build in this process and say what it took."""
    recorder, start = Recorder(), time.monotonic()
    build_bundle(
        checkpoint, find_target(target), Options(), output,
        Wanted(progress=recorder, describe=lambda built: report_files(describe(built))),
    )  # fmt: skip
    seconds = {**recorder.seconds, "build": time.monotonic() - start}
    seconds["build"] -= seconds["self-test"]
    bitx = open_bitx(output / DATA)
    return BuildCost(
        checkpoint=size_of(checkpoint), seconds=seconds, peak=peak_bytes(),
        peak_before_self_test=recorder.peak_before_self_test,
        data=size_of(output / DATA), bundle=size_of(output),
        packed=sum(t.size for t in bitx.tensors if t.layout is not Layout.PLAIN),
    )  # fmt: skip


def in_a_process(words: Sequence[str]) -> dict[str, Any]:
    """Run a step of this file in a process of its own; return what it says."""
    command = [sys.executable, "-m", "tests.full_size.measure", *words]
    paths = [str(REPOSITORY), *(path for path in sys.path if path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=False, env=environment
    )  # fmt: skip
    if done.returncode:
        raise click.ClickException(f"a step failed: {' '.join(words)}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def measure(model: Model, cores: Sequence[str], folder: Path) -> tuple[BuildCost, list[VerifyCost]]:
    """Generate, build for the target of each core, verify; everything is removed again."""
    checkpoint = generate(model, folder / "checkpoint")
    built: BuildCost | None = None
    verified = []
    for core in cores:
        output = folder / "bundle"
        cost = in_a_process(["--build", str(checkpoint), TARGET_OF[core], str(output)])
        built = built or BuildCost(**cost)
        said = in_a_process(["--verify", str(output), core])
        verified.append(VerifyCost(**said))
        shutil.rmtree(output)
    shutil.rmtree(folder / "checkpoint")
    assert built is not None
    return built, verified


def verify(bundle: Path, core: str) -> VerifyCost:
    """Verify a token in this process and say what it took."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as file, contextlib.redirect_stdout(file):
        with contextlib.suppress(SystemExit):
            bitexport(["verify", str(bundle), "--quick", "--core", core, "--json"])
        file.seek(0)
        report = json.load(file)
    return VerifyCost(
        core=core, seconds=time.monotonic() - start, peak=peak_bytes(),
        positions=report["positions"], op_outputs=report["op_outputs"],
        passed=all(each["passed"] for each in report["cores"]),
    )  # fmt: skip


def run_reference(bundle: Path) -> ReferenceCost:
    """Append some tokens in this process and say what it took."""
    session = load_reference(bundle / GRAPH).session()
    tokens = np.arange(REFERENCE_TOKENS, dtype=np.int32)
    start, cpu = time.monotonic(), time.process_time()
    session.run(tokens, rows="last")
    return ReferenceCost(
        tokens=REFERENCE_TOKENS, cpu_seconds=time.process_time() - cpu,
        seconds=time.monotonic() - start, peak=peak_bytes(),
    )  # fmt: skip


def measure_reference(model: Model, folder: Path) -> ReferenceCost:
    """Generate, build, run the reference; everything is removed again."""
    checkpoint, output = generate(model, folder / "checkpoint"), folder / "bundle"
    in_a_process(["--build", str(checkpoint), "host", str(output)])
    cost = ReferenceCost(**in_a_process(["--run-reference", str(output)]))
    shutil.rmtree(output)
    shutil.rmtree(folder / "checkpoint")
    return cost


def table(costs: Mapping[str, tuple[BuildCost, list[VerifyCost]]]) -> str:
    """Return what was measured as tables in Markdown."""
    stages = ["build", "packing", "reading back", "library", "self-test"]
    head = ["model", "checkpoint", "model.bitx", "packed", "rest of bundle", *stages]
    lines = [[*head, "peak", "with self-test"]]
    for name, (built, _) in costs.items():
        sizes = (built.checkpoint, built.data, built.packed, built.bundle - built.data)
        times = [f"{built.seconds[stage]:.1f} s" for stage in stages]
        peaks = (built.peak_before_self_test, built.peak)
        lines.append([name, *map(_gigabytes, sizes), *times, *map(_gigabytes, peaks)])
    runs = [["model", "core", "equal", "positions", "op outputs", "seconds", "peak"]]
    for name, (_, verified) in costs.items():
        runs += [
            [name, v.core, "yes" if v.passed else "NO", str(v.positions),
             str(v.op_outputs * v.positions), f"{v.seconds:.0f} s", _gigabytes(v.peak)]
            for v in verified
        ]  # fmt: skip
    return "\n\n".join(map(_markdown, (lines, runs)))


def reference_table(costs: Mapping[str, ReferenceCost]) -> str:
    """Return what the reference took as a table in Markdown."""
    lines = [
        ["model", "tokens at once", "CPU seconds", "tokens in a CPU second", "seconds", "peak"]
    ]
    lines += [
        [name, str(c.tokens), f"{c.cpu_seconds:.1f} s", f"{c.tokens / c.cpu_seconds:.1f}",
         f"{c.seconds:.1f} s", _gigabytes(c.peak)]
        for name, c in costs.items()
    ]  # fmt: skip
    return _markdown(lines)


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([rows[0], "|---" * len(lines[0]) + "|", *rows[1:]])


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3f} GB"


@click.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--core", "cores", multiple=True, type=click.Choice(list(TARGET_OF)),
              help="Verify on this core; default: all.")  # fmt: skip
@click.option("--toy", is_flag=True, help="The same models in small sizes.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(tempfile.gettempdir()),
    show_default=True,
    help="Where to work.",
)
@click.option("--build", "build_words", nargs=3, hidden=True)
@click.option("--verify", "verify_words", nargs=2, hidden=True)
@click.option("--run-reference", "reference_words", type=click.Path(path_type=Path), hidden=True)
@click.option("--reference", "only_reference", is_flag=True, help=f"Instead of building for "
              f"targets and verifying: {REFERENCE_TOKENS} tokens of the reference.")  # fmt: skip
def main(
    names: tuple[str, ...], cores: tuple[str, ...], toy: bool, folder: Path,
    build_words: tuple[str, str, str] | None, verify_words: tuple[str, str] | None,
    reference_words: Path | None, only_reference: bool,
) -> None:  # fmt: skip
    """Build and verify each MODEL, default all, and print what it took."""
    if build_words:
        path, target, output = build_words
        click.echo(json.dumps(dataclasses.asdict(build(Path(path), target, Path(output)))))
        return
    if verify_words:
        cost = verify(Path(verify_words[0]), verify_words[1])
        click.echo(json.dumps(dataclasses.asdict(cost)))
        return
    if reference_words:
        click.echo(json.dumps(dataclasses.asdict(run_reference(reference_words))))
        return
    models = TOYS if toy else MODELS
    for name in names:
        if name not in models:
            raise click.UsageError(f"no model `{name}`: they are {', '.join(models)}")
    free = shutil.disk_usage(folder).free
    if not toy and free < FREE_BYTES:
        raise click.ClickException(f"{folder}: {free} bytes are free, {FREE_BYTES} are needed")
    if only_reference:
        ran = {}
        for name in names or models:
            with tempfile.TemporaryDirectory(prefix="bitexport-", dir=folder) as scratch:
                ran[name] = measure_reference(models[name], Path(scratch))
        click.echo(reference_table(ran))
        return
    costs = {}
    for name in names or models:
        click.echo(f"{name} ...", err=True)
        with tempfile.TemporaryDirectory(prefix="bitexport-", dir=folder) as scratch:
            costs[name] = measure(models[name], cores or tuple(TARGET_OF), Path(scratch))
    click.echo(table(costs))


if __name__ == "__main__":
    main()
