"""`bitexport doctor`: what is installed, what is not, and the line that installs it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from shutil import which

import click
from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table

from bitexport.errors import ToolchainError
from bitexport.targets import Target, find_target, load_targets
from bitexport.toolchain.programs import install_line, version_of

PIPE_WIDTH = 200
ORACLE = "pip install 'bitexport[oracle]'"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is there, or is not."""

    subject: str  # a target, or "python"
    thing: str
    found: str | None  # its version
    required: bool = True


@click.command(short_help="Say what is installed and how to install the rest.")
@click.option("--target", "names", multiple=True, help="Fail unless this target can be built.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Look for compilers, emulators and Python packages; print the line that installs the rest.

    Without --target nothing that is missing is a failure: you may not need every target.
    """
    targets = [find_target(name) for name in names] or list(load_targets().values())
    findings = [*_python(), *(finding for target in targets for finding in examine(target))]
    remedy = _remedy(targets, findings)
    if as_json:
        facts = {"findings": [dataclasses.asdict(each) for each in findings], "install": remedy}
        click.echo(json.dumps(facts, indent=2))
    else:
        _print(findings, remedy)
    missing = [each for each in findings if each.required and each.found is None]
    if names and missing:
        what = ", ".join(dict.fromkeys(f"`{each.thing}`" for each in missing))
        raise ToolchainError(f"missing: {what}", hint="; ".join(remedy))


def examine(target: Target) -> list[Finding]:
    """Return what a target needs of this machine: compiler, archiver, runner, and a C library.

    Bare metal needs none: neither the runtime nor its runner calls one.
    """
    programs = [target.compiler, target.archiver, target.symbol_lister]
    programs += [word for word in target.runner[:1] if word != "{program}"]
    found = {name: version_of(name) if which(name) else None for name in programs}
    if target.os != "none":
        found["C library"] = _c_library(target.compiler) if found[target.compiler] else None
    return [Finding(subject=target.name, thing=name, found=text) for name, text in found.items()]


def _c_library(compiler: str) -> str | None:
    """Return where a compiler finds the static C library; it echoes the name if it does not."""
    asked = [compiler, "-print-file-name=libc.a"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return str(Path(said).resolve()) if Path(said).is_absolute() else None


def _python() -> list[Finding]:
    """Return what the package itself declares: its dependencies, and those of extra `oracle`."""
    findings = [Finding(subject="python", thing="python", found=sys.version.partition(" ")[0])]
    for line in _declared():
        wanted = Requirement(line)
        plain = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if plain or (wanted.marker is not None and wanted.marker.evaluate({"extra": "oracle"})):
            findings.append(
                Finding(
                    subject="python" if plain else "python, extra oracle",
                    thing=wanted.name,
                    found=_version(wanted.name),
                    required=plain,
                )
            )
    return findings


def _declared() -> list[str]:
    """Return what the installed package asks for; nothing when it runs from a bare source tree."""
    try:
        return requires("bitexport") or []
    except PackageNotFoundError:
        return []


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _remedy(targets: Sequence[Target], findings: Sequence[Finding]) -> list[str]:
    """Return the lines to type: one for Debian's packages, one for Python's."""
    missing = [each for each in findings if each.found is None and each.required]
    lacking = {each.subject for each in missing}
    debian = sorted({name for each in targets if each.name in lacking for name in each.debian})
    python = [each.thing for each in missing if each.subject.startswith("python")]
    lines = [install_line(debian)] if debian else []
    return lines + ([f"pip install {' '.join(python)}"] if python else [])


def _print(findings: Sequence[Finding], remedy: Sequence[str]) -> None:
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    table = Table("for", "needs", "found", box=None)
    for each in findings:
        table.add_row(each.subject, each.thing, each.found or "missing")
    console.print(table)
    for line in remedy:
        console.print(f"\nto install what is missing:  {line}", soft_wrap=True)
    if any(each.found is None and not each.required for each in findings):
        console.print(
            f"\nif you use --against transformers:  {ORACLE}", soft_wrap=True, markup=False
        )
