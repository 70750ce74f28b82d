"""A timed model as tables for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bitexport.bench.model import ModelBench, Run


def print_model(bench: ModelBench, console: Console) -> None:
    """Print speeds by context, then memory, then where an unfused token spends its time."""
    console.print(
        f"{bench.name}: {bench.file_bytes / 1e6:.1f} MB, "
        f"of which a token reads {bench.weight_bytes / 1e6:.1f} MB"
    )
    for table in (_speeds(bench), _memory(bench), _shares(bench)):
        console.print()
        console.print(table)


def _table(*titles: str) -> Table:
    table = Table(box=None)
    for title in titles:
        table.add_column(title, justify="right")
    return table


def _speeds(bench: ModelBench) -> Table:
    decode, prefill = f"decode {bench.decode_tokens}", f"prefill {bench.prefill_tokens}"
    table = _table("threads", "context", f"{decode}, tokens/s", f"{prefill}, tokens/s")
    for run in bench.runs:
        for point in run.points:
            speeds = (_number(point.decode), _number(point.prefill))
            table.add_row(str(run.threads), str(point.context), *speeds)
    return table


def _memory(bench: ModelBench) -> Table:
    table = _table("threads", "weights, GB/s", "memory, GB/s", "share", "open, ms",
                   "first token, ms", "arena, MB", "peak resident, MB")  # fmt: skip
    for run in bench.runs:
        table.add_row(
            str(run.threads),
            *_rates(run, bench.weight_bytes),
            f"{1e3 * run.open_seconds:.1f}",
            f"{1e3 * run.first_token_seconds:.1f}",
            f"{run.arena_bytes / 1e6:.1f}",
            f"{run.peak_bytes / 1e6:.1f}",
        )
    return table


def _rates(run: Run, weight_bytes: int) -> tuple[str, str, str]:
    rate = run.weight_rate(weight_bytes)
    memory = f"{run.read_rate / 1e9:.1f}"
    return ("", memory, "") if rate is None else (
        f"{rate / 1e9:.1f}", memory, f"{rate / run.read_rate:.0%}"
    )  # fmt: skip


def _shares(bench: ModelBench) -> Table:
    """Return a column for each number of threads."""
    table = _table("op by op, context 0", *(f"{run.threads} threads" for run in bench.runs))
    for op in bench.runs[0].op_shares:
        table.add_row(op, *(f"{run.op_shares.get(op, 0):.1%}" for run in bench.runs))
    times = (f"{1e3 * run.unfused_token_seconds:.2f} ms" for run in bench.runs)
    table.add_row("a token, unfused", *times)
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
