"""Comparisons as text: a table for the terminal, another for README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table

from bitexport.bench.compare import SCALAR, Contest, Line

WORDS = {True: "held", False: "NOT HELD", None: ""}
README_HEAD = (
    "| target | instruction set | weights | decode | bar | best other "
    "| prefill, of 16 | of 64 | bar | best other |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def terminal_table(lines: Sequence[Line]) -> Table:
    """Return a row for each line; a column for each matrix that was counted."""
    shapes = list(dict.fromkeys(shape for line in lines for shape in line.costs))
    table = Table("target", "isa", "kernel", box=None)
    for title in ("vectors", *(f"{n} x {k}" for n, k in shapes), "bar"):
        table.add_column(title, justify="right")
    table.add_column("")
    table.add_column("best other")
    for line in lines:
        table.add_row(
            line.contest.target,
            line.contest.isa,
            line.kernel,
            str(line.columns),
            *(_number(line.costs.get(shape)) for shape in shapes),
            _number(line.contest.bar, 1),
            WORDS[line.holds],
            best_other(line.contest),
        )
    return table


def readme_table(lines: Iterable[Line]) -> str:
    """Return a row for each instruction set and layout, the worst matrix in each cell."""
    rows: dict[tuple[str, str, str], dict[int, Line]] = {}
    for line in lines:
        if line.contest.isa == SCALAR:
            continue
        layout = line.kernel.rpartition("_")[2]
        key = (line.contest.target, line.contest.isa, layout)
        rows.setdefault(key, {})[line.columns] = line
    made = []
    for (target, isa, layout), by_columns in rows.items():
        weights = next(iter(by_columns.values())).contest.weights
        one, few, many = (by_columns.get(columns) for columns in (1, 16, 64))
        cells = [f"`{target}`", isa, f"{weights} (`{layout}`)", *_cells(one)]
        cells += [_worst(few), _worst(many), *_cells(many)[1:]]
        made.append("| " + " | ".join(cells) + " |")
    return "\n".join([README_HEAD, *made])


def best_other(contest: Contest) -> str:
    """Return what the best peer costs, and its name."""
    return f"{contest.peers[0].cost:.1f} {contest.peers[0].name}" if contest.peers else ""


def _cells(line: Line | None) -> list[str]:
    if line is None:
        return ["", "", ""]
    return [_worst(line), _number(line.contest.bar, 1), best_other(line.contest)]


def _worst(line: Line | None) -> str:
    """Return the worst cost, bold where it holds its bar."""
    if line is None:
        return ""
    number = _number(line.worst)
    return f"**{number}**" if line.holds else number


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"
