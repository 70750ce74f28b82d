"""`bitexport bench`: what the runtime costs."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bitexport.bench.compare import Line, compare, missing
from bitexport.bench.count import count_kernels
from bitexport.bench.model import CONTEXTS, ModelBench, Run, bench_model
from bitexport.bench.model_table import print_model
from bitexport.bench.page import render_page
from bitexport.bench.table import terminal_table
from bitexport.emit.manifest import open_bundle
from bitexport.errors import OutputError
from bitexport.targets import find_target, load_targets

PIPE_WIDTH = 200


@click.group(short_help="Measure what the runtime costs.")
def command() -> None:
    """Measure what the runtime costs, and compare it with its bars and with others."""


@command.command(short_help="Count the instructions of every kernel.")
@click.option("--target", "names", multiple=True, help="Only this target; may be repeated.")
@click.option("--isa", "isas", multiple=True, help="Only this instruction set; may be repeated.")
@click.option("--kernel", "chosen", multiple=True, help="Only this kernel; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--html", "page", metavar="FILE", type=click.Path(path_type=Path),
              help="Also write a page with plots.")  # fmt: skip
def kernels(
    names: tuple[str, ...], isas: tuple[str, ...], chosen: tuple[str, ...], as_json: bool,
    page: Path | None,
) -> None:  # fmt: skip
    """Count the instructions of every matrix kernel, per 64 weights and vector.

    The kernels of each target and instruction set multiply matrices of the shapes of BitNet b1.58
    2B4T with one vector (decode) or 16 and 64 (prefill).  QEMU counts what the guest runs: the
    whole call, loads, loop and all.  The numbers are the same on every machine.  A cell stays empty
    where the matrix does not fit the emulated board, or only the first was tried (scalar).
    """
    targets = [find_target(name) for name in names] or list(load_targets().values())
    lines = compare(count_kernels(targets, chosen, isas, _say))
    if not lines:
        raise click.UsageError("these targets have no such kernel for such an instruction set")
    if page is not None:
        _write(page, render_page(lines))
    if as_json:
        click.echo(json.dumps([_facts(line) for line in lines], indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    console.print(terminal_table(lines))
    if not (chosen or isas):
        _tell_missing(lines)


@command.command(short_help="Time a model on this machine.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--threads",
    multiple=True,
    type=click.IntRange(1, 64),
    help="With so many threads; may be repeated.  Default: one, and all cores.",
)
@click.option("--context", "contexts", multiple=True, type=click.IntRange(0), default=CONTEXTS,
              show_default=True, help="With so many tokens before; may be repeated.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def model(
    bundle: Path, threads: tuple[int, ...], contexts: tuple[int, ...], as_json: bool
) -> None:  # fmt: skip
    """Time the model in BUNDLE on this machine: decode, prefill, memory, and the share of each op.

    Decode is the median of 32 tokens from a context on, prefill 512 tokens behind them (of context
    0 from the beginning); fewer, if the model's context is small.  The library is the bundle's own,
    or this version's for this machine.  Shares of ops are of an unfused run, op by op at context 0,
    so their sum may be more than a fused token takes.  Weights a second are set against memory read
    in order by the same threads: the most that decode can reach, unless the weights stay in cache.
    """
    opened = open_bundle(bundle, check_files=True)
    counts = threads or sorted({1, os.cpu_count() or 1})
    bench = bench_model(opened, counts, contexts, _say)
    if as_json:
        click.echo(json.dumps(_model_facts(bench), indent=2))
        return
    print_model(bench, Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False))


def _model_facts(bench: ModelBench) -> dict[str, Any]:
    def facts(run: Run) -> dict[str, Any]:
        return {**dataclasses.asdict(run), "weight_rate": run.weight_rate(bench.weight_bytes)}

    return {**dataclasses.asdict(bench), "runs": [facts(run) for run in bench.runs]}


def _facts(line: Line) -> dict[str, Any]:
    place = line.contest
    return {
        "target": place.target,
        "isa": place.isa,
        "kernel": line.kernel,
        "weights": place.weights,
        "vectors": line.columns,
        "instructions_per_64_weights": {f"{n}x{k}": c for (n, k), c in line.costs.items()},
        "bar": place.bar,
        "holds": line.holds,
        "peers": [
            {"name": peer.name, "instructions_per_64_weights": peer.cost, "source": peer.source}
            for peer in place.peers
        ],
    }


def _tell_missing(lines: Sequence[Line]) -> None:
    for place in missing(lines):
        click.echo(
            f"no kernel yet: {place.target}, {place.isa}, {place.weights}, {place.phase}; "
            f"the bar is {place.bar:g}"
        )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error


def _say(text: str) -> None:
    click.echo(text, err=True)
