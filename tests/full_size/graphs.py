"""Loads each flavour of the graph of a model of published size in stock onnxruntime.

    python -m tests.full_size.graphs                  BitNet b1.58 2B4T, random trits
    python -m tests.full_size.graphs --toy

Prints time and memory of loading, and of some tokens.  Each runs in a process of its own, with
two threads; 8 GB of disk, and no flavour may map more than `--most` gigabytes.  Of `packed`, whose
function bodies are unpacked at load, there are four layers: what they take is taken by each weight.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from tests.full_size.generate import MODELS, TOYS, Model, generate

from bitexport.emit.onnx_standard import FILES, Flavour
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import find_target

RUNNER = Path(__file__).parents[1] / "runtimes/run_onnxruntime.py"
PROMPT, TOKENS = 8, 16
COLUMNS = ("flavour", "graph and data", "loads in", "resident", "peak of loading", "tokens/s")


def load(graph: Path, folder: Path, most_gigabytes: int) -> Mapping[str, Any]:
    """Run a flavour in a process that may map so much; return what it printed."""
    tokens = folder / "tokens"
    (np.arange(TOKENS, dtype="<i4") + 1).tofile(tokens)
    command = [sys.executable, RUNNER, graph, tokens, str(PROMPT), folder / "logits"]
    limit = most_gigabytes << 30
    done = subprocess.run(
        [*command, "--threads", "2"], capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    if done.returncode:
        raise click.ClickException(f"{graph.name}: {done.stderr.strip().splitlines()[-1]}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def row(graph: Path, said: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what was measured of a flavour, in words."""
    data = graph.with_name(f"{graph.name}_data")
    data = data if data.exists() else graph.with_name("model.bitx")
    sizes = (graph.stat().st_size + data.stat().st_size, said["resident_bytes"])
    files, resident = (f"{size / 1e9:.2f} GB" for size in sizes)
    return (
        graph.name, files, f"{said['load_seconds']:.1f} s", resident,
        f"{said['load_peak_bytes'] / 1e9:.2f} GB", f"{said['tokens_per_second']:.2f}",
    )  # fmt: skip


@click.command()
@click.option("--toy", is_flag=True, help="The same model in a small size.")
@click.option("--embedding", type=click.Choice(["bf16", "q8"]), help="Default: bf16.")
@click.option("--most", default=11, show_default=True, help="Gigabytes of address space.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False, exists=True),
              default=Path(tempfile.gettempdir()), show_default=True)  # fmt: skip
def main(toy: bool, embedding: str | None, most: int, folder: Path) -> None:
    """Build 2B4T with every flavour, load each, and print a table."""
    model = (TOYS if toy else MODELS)["2b4t"]
    click.echo(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    few = dataclasses.replace(model, name="four-layers", layers=4, vocabulary=4096)
    for each, flavours in ((few, [Flavour.PACKED]), (model, [Flavour.ORT2BIT, Flavour.PORTABLE])):
        with tempfile.TemporaryDirectory(prefix="bitexport-", dir=folder) as name:
            measure(each, flavours, embedding, most, Path(name))


def measure(
    model: Model, flavours: Sequence[Flavour], embedding: str | None, most: int, folder: Path
) -> None:
    """Build a model, load each flavour, and print a row for it."""
    checkpoint, start = generate(model, folder / "checkpoint"), time.monotonic()
    options = Options(embedding="q8" if embedding == "q8" else None)
    wanted = Wanted(compile_library=False, self_test=False, onnx=tuple(flavours))
    bundle = build_bundle(checkpoint, find_target("host"), options, folder / "b", wanted)
    seconds = time.monotonic() - start
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    click.echo(f"built in {seconds:.0f} s, peak {peak / 1e9:.2f} GB", err=True)
    for flavour in flavours:
        graph = bundle.path / FILES[flavour]
        said = load(graph, folder, most)
        click.echo(f"| {' | '.join(row(graph, said))} |")
        unpacked = bundle.manifest["onnx"][flavour]["unpacked_bytes"]
        if unpacked:
            each = said["load_peak_bytes"] / unpacked
            click.echo(f"{each:.1f} bytes for each of {unpacked} weights", err=True)


if __name__ == "__main__":
    main()
