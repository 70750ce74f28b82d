"""`bitexport inspect`: what a file is and what it holds."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bitexport.errors import OutputError
from bitexport.report.fold import fold
from bitexport.report.graph import Graph, read_graph
from bitexport.report.graph_drawing import whole_file
from bitexport.report.graph_page import graph_page
from bitexport.report.graph_text import graph_facts, graph_text
from bitexport.report.inspect import inspect, render

DRAWN = (".html", ".svg")


@click.command(short_help="Show what a checkpoint, bundle, graph or .bitx file holds.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--graph", "show_graph", is_flag=True,
              help="Show its graph: ops, shapes, weights; blocks that repeat once.")  # fmt: skip
@click.option("--draw", "drawing", metavar="FILE", type=click.Path(path_type=Path),
              help="Draw its graph into FILE: a page (.html) or the drawing alone (.svg)."
              )  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def command(path: Path, show_graph: bool, drawing: Path | None, as_json: bool) -> None:
    """Show what PATH holds.

    A checkpoint folder, a bundle, or a .gguf, .safetensors, .onnx or .bitx file.

    The graph of a checkpoint is the plan that a build for arm64 would make; of a bundle it is the
    plan in its model.bitx, with ops that run as one together; of an .onnx file, any, its nodes.
    """
    if drawing is not None and drawing.suffix not in DRAWN:
        raise click.UsageError(f"--draw {drawing}: the name ends in neither .html nor .svg")
    if show_graph or drawing is not None:
        graph = read_graph(path)
        if drawing is not None:
            _draw(graph, drawing)
            click.echo(f"drawn: {drawing}", err=True)
        if show_graph:
            facts = json.dumps(graph_facts(graph), indent=2) if as_json else graph_text(graph)
            click.echo(facts)
        return
    facts_of_path = inspect(path)
    click.echo(json.dumps(facts_of_path, indent=2) if as_json else render(facts_of_path))


def _draw(graph: Graph, drawing: Path) -> None:
    page = graph_page(graph) if drawing.suffix == ".html" else whole_file(fold(graph))
    try:
        drawing.write_text(page, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{drawing}: cannot be written: {error.strerror}", hint="give another file"
        ) from error
