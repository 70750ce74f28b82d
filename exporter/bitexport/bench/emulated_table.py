"""A counted token as a table for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bitexport.bench.emulated import ModelCount


def print_count(count: ModelCount, console: Console) -> None:
    """Print a row for each op or fusion, two columns for each context, and the whole token."""
    console.print(
        f"{count.name}: {count.ternary_weights:,} ternary weights; {count.target}, {count.core}, "
        f"{count.isa}"
    )
    console.print()
    table = Table("guest instructions of a token", box=None)
    for token in count.tokens:
        table.add_column(f"context {token.context}", justify="right")
        table.add_column("per weight", justify="right")
    steps = dict.fromkeys(step for token in count.tokens for step in token.steps)
    for step in steps:
        table.add_row(step, *_cells(count, [token.steps.get(step, 0) for token in count.tokens]))
    table.add_row("in all", *_cells(count, [token.instructions for token in count.tokens]))
    console.print(table)


def _cells(count: ModelCount, instructions: list[int]) -> list[str]:
    cells = []
    for number in instructions:
        cost = count.per_weight(number)
        cells += [f"{number:,}", "" if cost is None else f"{cost:.4f}"]
    return cells
