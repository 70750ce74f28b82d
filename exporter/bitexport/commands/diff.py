"""`bitexport diff`: what differs between two checkpoints, graphs or bundles."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bitexport.errors import BitexportError
from bitexport.report.contents import read_contents
from bitexport.report.difference import compare, difference_text

DIFFERENT = 1


class TroubleError(BitexportError):
    """Two that could not be compared: as of diff(1), neither equal nor different."""

    exit_code = 2


@click.command(short_help="Say what differs between two checkpoints, graphs or bundles.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def command(a: Path, b: Path, as_json: bool) -> int:
    """Say what differs between A and B: two checkpoints, bundles, .onnx, .bitx or .safetensors.

    First tensors: which are missing, have another shape, other numbers (how many, and how far) or
    the same numbers stored in another way; then ops, bytes and options.  Every number is compared,
    whatever the layouts and containers.  Exit code 0: equal, 1: different, 2 and more: trouble.
    """
    try:
        difference = compare(read_contents(a), read_contents(b))
    except BitexportError as error:
        if error.exit_code == DIFFERENT:
            raise TroubleError(str(error), hint=error.hint) from error
        raise
    click.echo(
        json.dumps(difference.as_json(), indent=2) if as_json else difference_text(difference)
    )
    return 0 if difference.equal else DIFFERENT
