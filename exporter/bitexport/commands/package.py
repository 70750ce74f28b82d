"""`bitexport package`: a bundle becomes what a build system takes."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bitexport.emit.manifest import open_bundle
from bitexport.errors import CheckError
from bitexport.package.check.artefact import check_artefact
from bitexport.package.check.findings import render
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


def _check(path: Path, as_json: bool) -> None:
    findings = check_artefact(path)
    found = findings.sorted()
    counts = Counter(each.rule.level for each in found)
    if as_json:
        facts = {
            "findings": [dataclasses.asdict(each) for each in found],
            "looked_at": findings.looked_at,
        }
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(render(findings))
    if counts["error"]:
        raise CheckError(
            f"{path}: {counts['error']} errors, {counts['warning']} warnings, "
            f"{counts['note']} notes",
            hint="each finding says what to do about it",
        )


@click.command(short_help="Package a bundle for a build system.")
@click.argument("bundles", nargs=-1, metavar="BUNDLE...", type=click.Path(path_type=Path))
@_kinds
@click.option("--check", "artefact", metavar="FILE", type=click.Path(path_type=Path),
              help="Check an AAR, APK, XCFramework, .so or a folder of these, ours or not."
              )  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="With --check: print JSON instead of lines.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="New folder.")
@click.option("--force", is_flag=True, help="Replace the output folder if it exists.")
@click.option("--flash", callback=_bytes, metavar="BYTES",
              help="Of your part, as 4M, for --mcu; default: the emulated board's.")  # fmt: skip
@click.option("--ram", callback=_bytes, metavar="BYTES", help="The same.")
def command(
    bundles: tuple[Path, ...], kind: str | None, artefact: Path | None, as_json: bool,
    output: Path | None, force: bool, flash: int | None, ram: int | None,
) -> None:  # fmt: skip
    """Package the model and the library of BUNDLE, which `build` wrote, for a build system.

    The folder has a package.json with the hash of every file.  With --check nothing is written:
    what breaks the rules of app stores and loaders is listed, each with source and remedy, and the
    exit code is 6 where one is an error.
    """
    if artefact is not None:
        if bundles or kind or output or force or flash is not None or ram is not None:
            raise click.UsageError("--check FILE stands alone")
        _check(artefact, as_json)
        return
    if as_json:
        raise click.UsageError("--json is for --check")
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
