"""`bitexport package`: a bundle becomes what a build system takes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bitexport.emit.manifest import open_bundle
from bitexport.package.kind import load_kinds, write_package
from bitexport.progress import StreamProgress

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _bytes(_: click.Context, parameter: click.Parameter, given: str | None) -> int | None:
    """Read a number of bytes, or of KiB, MiB, GiB: 512K."""
    if given is None:
        return None
    digits = given.rstrip("KMG")
    if not digits.isdigit() or given[len(digits) :] not in UNITS:
        raise click.BadParameter(f"{given!r} is no size: 1048576, 512K, 4M", param=parameter)
    return int(digits) * UNITS[given[len(digits) :]]


def _kinds(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each file of package/kinds."""
    for name, kind in reversed(load_kinds().items()):
        option = click.option(f"--{name}", "kind", flag_value=name, help=kind.summary)
        function = option(function)
    return function


@click.command(short_help="Package a bundle for a build system.")
@click.argument("bundles", nargs=-1, metavar="BUNDLE...", type=click.Path(path_type=Path))
@_kinds
@click.option("-o", "--output", type=click.Path(path_type=Path), help="New folder.")
@click.option("--force", is_flag=True, help="Replace the output folder if it exists.")
@click.option("--flash", callback=_bytes, metavar="BYTES",
              help="Of your part, as 4M, for --mcu; default: the emulated board's.")  # fmt: skip
@click.option("--ram", callback=_bytes, metavar="BYTES", help="The same.")
def command(
    bundles: tuple[Path, ...], kind: str | None, output: Path | None, force: bool,
    flash: int | None, ram: int | None,
) -> None:  # fmt: skip
    """Package the model and the library of BUNDLE, which `build` wrote, for a build system.

    The folder has a package.json with the hash of every file.
    """
    if not bundles or kind is None or output is None:
        names = ", ".join(f"--{name}" for name in load_kinds())
        raise click.UsageError(f"say which BUNDLE, as what (one of {names}), and -o where")
    limits = {name: size for name, size in (("flash", flash), ("ram", ram)) if size is not None}
    write_package(
        kind,
        [open_bundle(path, check_files=True) for path in bundles],
        output,
        replace=force,
        limits=limits,
        progress=StreamProgress(sys.stderr),
    )
    click.echo(output)
