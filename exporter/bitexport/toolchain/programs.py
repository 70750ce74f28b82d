"""Other people's programs: where they lie, how to get them, what they said."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bitexport.errors import ToolchainError
from bitexport.targets import Target

SHOWN_LINES = 12
VERSION_SECONDS = 20


def install_line(packages: Sequence[str]) -> str:
    """Return the line to type on Debian or Ubuntu that installs these packages."""
    words = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    return shlex.join(words if os.geteuid() == 0 else ["sudo", *words])


def find_program(name: str, target: Target) -> str:
    """Return the full path of a program that a target needs, or say how to install it."""
    return find_command(name, f"target `{target.name}`", target.debian)


def find_command(name: str, needed_by: str, packages: Sequence[str]) -> str:
    """Return the full path of a program, or say who needs it and how to install it."""
    found = shutil.which(name)
    if found is None:
        raise ToolchainError(
            f"`{name}` is not installed; {needed_by} needs it",
            hint=f"on Debian or Ubuntu: {install_line(packages)}",
        )
    return found


def version_of(program: str) -> str:
    """Return the first line that a program says about its version."""
    said = subprocess.run(
        [program, "--version"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=VERSION_SECONDS,
    )
    return (said.stdout or said.stderr).partition("\n")[0].strip()


def run_tool(
    command: Sequence[str], *, folder: Path, doing: str
) -> subprocess.CompletedProcess[str]:
    """Run a compiler or a tool of its kind in a folder; a refusal is shown by its first lines."""
    done = _run_group(command, folder)
    if done.returncode != 0:
        raise ToolchainError(
            f"{doing} failed\n{first_lines(done.stderr or done.stdout)}",
            hint=f"the command, in {folder}: {shlex.join(command)}",
        )
    return done


def _run_group(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a process group of its own, all of which ends when this is interrupted.

    A compiler starts others and writes files beside its output: told to end, it removes them.
    """
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, process_group=0,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.communicate()  # until nobody holds the other end
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def first_lines(text: str) -> str:
    """Return the beginning of what a program said, and how much of it is left out."""
    lines = text.strip().splitlines()
    left_out = len(lines) - SHOWN_LINES
    more = [f"... {left_out} more lines"] if left_out > 0 else []
    return "\n".join(lines[:SHOWN_LINES] + more)
