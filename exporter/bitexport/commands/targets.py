"""`bitexport targets`: what can be built for, and on which cores it is verified."""

from __future__ import annotations

import dataclasses
import json
import sys

import click
from rich.console import Console
from rich.table import Table

from bitexport.targets import Target, load_targets

PIPE_WIDTH = 200


@click.command(short_help="List the targets, and the cores that verify them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(as_json: bool) -> None:
    """List the targets: instruction sets with kernels, and the cores that `verify` emulates.

    Layout: how trits lie in the file, unless `build --layout` says otherwise.
    """
    targets = load_targets().values()
    if as_json:
        click.echo(json.dumps([_facts(target) for target in targets], indent=2))
        return
    table = Table("target", "triple", "instruction sets", "layout", "cores", "what it is", box=None)
    for target in targets:
        table.add_row(
            target.name,
            target.triple,
            " ".join(target.isas),
            target.layout,
            "\n".join(target.cores),
            target.summary,
        )
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False).print(table)


def _facts(target: Target) -> dict[str, object]:
    facts = {f.name: getattr(target, f.name) for f in dataclasses.fields(target)}
    return {
        **facts,
        "compiler": target.compiler,
        "cores": dict(target.cores),
        "cpuinfo": dict(target.cpuinfo),
    }
