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
from bitexport.bench.device import load_devices
from bitexport.bench.device_page import devices_page
from bitexport.bench.device_table import print_assumptions, print_forecast
from bitexport.bench.emulated import ModelCount, count_facts, count_model
from bitexport.bench.emulated_page import emulated_page
from bitexport.bench.emulated_table import print_count
from bitexport.bench.forecast import forecast_facts, held_facts, of_bundle, of_shape
from bitexport.bench.kernels_page import kernels_page
from bitexport.bench.model import CONTEXTS, ModelBench, Run, bench_model
from bitexport.bench.model_page import model_page
from bitexport.bench.model_table import print_model
from bitexport.bench.published import held_against
from bitexport.bench.roofline import ASSUMPTIONS
from bitexport.bench.table import terminal_table
from bitexport.bench.workload import EMBEDDINGS, load_shapes
from bitexport.emit.manifest import open_bundle, refuse_network
from bitexport.errors import OutputError
from bitexport.targets import find_target, load_targets

PIPE_WIDTH = 200
EXAMPLE = "bitnet-2b-4t"
COUNTED_CONTEXT = 24  # tokens: the middle of a short answer


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
        _write(page, kernels_page(lines))
    if as_json:
        click.echo(json.dumps([_facts(line) for line in lines], indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    console.print(terminal_table(lines))
    if not (chosen or isas):
        _tell_missing(lines)


@command.command(short_help="Time a model on this machine, or count it on an emulated core.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--core", "cores", multiple=True, metavar="CORE",
              help="Count instructions on this core of its target; may be repeated.")  # fmt: skip
@click.option(
    "--threads",
    multiple=True,
    type=click.IntRange(1, 64),
    help="With so many threads; may be repeated.  Default: one, and all cores.",
)
@click.option("--context", "contexts", multiple=True, type=click.IntRange(0),
              help="With so many tokens before; may be repeated.  Default: "
              f"{', '.join(map(str, CONTEXTS))}; with --core {COUNTED_CONTEXT}.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--html", "page", metavar="FILE", type=click.Path(path_type=Path),
              help="Also write a page with plots.")  # fmt: skip
def model(
    bundle: Path, cores: tuple[str, ...], threads: tuple[int, ...], contexts: tuple[int, ...],
    as_json: bool, page: Path | None,
) -> None:  # fmt: skip
    """Time the model in BUNDLE on this machine: decode, prefill, memory, and the share of each op.

    Decode is the median of 32 tokens from a context on, prefill 512 tokens behind them (of context
    0 from the beginning); fewer, if the model's context is small.  The library is the bundle's own,
    or this version's for this machine.  Shares of ops are of an unfused run, op by op at context 0,
    so their sum may be more than a fused token takes.  Weights a second are set against memory read
    in order by the same threads: the most that decode can reach, unless the weights stay in cache.

    With --core, QEMU counts what the guest runs for one token: one thread, fused, by op and for
    each ternary weight, with the library that the bundle ships.  The numbers are the same on every
    machine.
    """
    opened = open_bundle(bundle, check_files=True)
    refuse_network(opened)
    if cores:
        if threads:
            raise click.UsageError("--core counts instructions of one thread: no --threads")
        found = count_model(opened, cores, contexts or (COUNTED_CONTEXT,), _say)
        if page is not None:
            _write(page, emulated_page(found))
        _print_counts(found, as_json=as_json)
        return
    counts = threads or sorted({1, os.cpu_count() or 1})
    bench = bench_model(opened, counts, contexts or CONTEXTS, _say)
    if page is not None:
        _write(page, model_page(bench))
    if as_json:
        click.echo(json.dumps(_model_facts(bench), indent=2))
        return
    print_model(bench, Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False))


@command.command(short_help="Predict speed and energy on devices that are not here.")
@click.argument("bundles", nargs=-1, type=click.Path(path_type=Path), metavar="[BUNDLE]...")
@click.option("--model", "shapes", multiple=True, type=click.Choice(sorted(load_shapes())),
              help="A published model, by its shapes; may be repeated.  Default without a bundle: "
              f"{EXAMPLE}.")  # fmt: skip
@click.option("--embedding", type=click.Choice(sorted(EMBEDDINGS)), default="q8",
              show_default=True, help="Embedding and head of --model.")  # fmt: skip
@click.option("--device", "devices", multiple=True, type=click.Choice(sorted(load_devices())),
              help="Only this device; may be repeated.")  # fmt: skip
@click.option("--context", "contexts", multiple=True, type=click.IntRange(0), default=CONTEXTS,
              show_default=True, help="With so many tokens before; may be repeated.  Half of "
              "a bundle's context stands for those beyond it.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--html", "page", metavar="FILE", type=click.Path(path_type=Path),
              help="Also write a page with plots.")  # fmt: skip
def devices(
    bundles: tuple[Path, ...], shapes: tuple[str, ...], embedding: str, devices: tuple[str, ...],
    contexts: tuple[int, ...], as_json: bool, page: Path | None,
) -> None:  # fmt: skip
    """Predict tokens a second and joules a token on named devices.

    A roofline: each part of a token takes as long as the slower of its instructions, counted, and
    its bytes.  What a device can do stands in exporter/bitexport/bench/devices, each number with
    its source; many are estimates, and say so.  Of a BUNDLE, its own plan, layouts and head count.
    """
    opened = [open_bundle(path) for path in bundles]
    for each in opened:
        refuse_network(each)
    wanted = shapes or (() if bundles else (EXAMPLE,))
    at = sorted(set(contexts))
    forecasts = [of_bundle(bundle, devices, at) for bundle in opened]
    forecasts += [of_shape(load_shapes()[key], embedding, devices, at) for key in wanted]
    held = held_against()
    if page is not None:
        _write(page, devices_page(forecasts, held))
    if as_json:
        said = {
            "predicted": [forecast_facts(each) for each in forecasts],
            "assumptions": ASSUMPTIONS,
            "published": [held_facts(each) for each in held],
        }
        click.echo(json.dumps(said, indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    for forecast in forecasts:
        print_forecast(forecast, console)
    print_assumptions(held, console)


def _print_counts(counts: Sequence[ModelCount], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([count_facts(each) for each in counts], indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    for each in counts:
        print_count(each, console)
        console.print()


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
