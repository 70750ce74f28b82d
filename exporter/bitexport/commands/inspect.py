"""`bitexport inspect`: what a file is and what it holds."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bitexport.report.inspect import inspect, render


@click.command(short_help="Show what a checkpoint, bundle, graph or .bitx file holds.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def command(path: Path, as_json: bool) -> None:
    """Show what PATH holds.

    A checkpoint folder, a bundle, or a .gguf, .safetensors, .onnx or .bitx file.
    """
    facts = inspect(path)
    click.echo(json.dumps(facts, indent=2) if as_json else render(facts))
