"""Start a program on a core, the way the target's runner says."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bitexport.errors import RunError, TargetError
from bitexport.targets import Target
from bitexport.toolchain.programs import find_program, first_lines

TIMEOUT_SECONDS = 600.0


def run(
    target: Target,
    core: str,
    program: Path,
    arguments: Sequence[str] = (),
    timeout: float = TIMEOUT_SECONDS,
    emulation: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a program on an emulated core and return what it said.

    `emulation` are words for the emulator besides those of the target.

    It sees no environment variable and no standard input.  One that is stopped by a signal, leaves
    with another status than 0 or outlives the timeout is a RunError, which carries what it said.
    """
    command = command_line(target, core, program, arguments)
    command[1:1] = emulation
    return run_command(command, f"`{program.name}` on {target.name}, core {core},", timeout, env={})


def run_command(
    command: Sequence[str], place: str, timeout: float, *, env: Mapping[str, str] | None
) -> subprocess.CompletedProcess[str]:
    """Run words as `run` does; an environment of None is that of this process."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env=env,
            timeout=timeout,
            encoding="utf-8",
            errors="backslashreplace",
        )
    except subprocess.TimeoutExpired as error:
        done = subprocess.CompletedProcess(command, -1, _text(error.stdout), _text(error.stderr))
        message = f"{place} did not end within {timeout:g} seconds{_said(done)}"
        raise RunError(message, completed=done) from error
    if done.returncode != 0:
        raise RunError(f"{place} {_ending(done.returncode)}{_said(done)}", completed=done)
    return done


def command_line(
    target: Target, core: str, program: Path, arguments: Sequence[str] = ()
) -> list[str]:
    """Fill in the target's runner: its words, with core, program and arguments in their places."""
    target.expected_isas(core)
    if core not in target.cores:
        raise TargetError(
            f"no emulator has a `{core}`", hint=f"emulated are {', '.join(target.cores)}"
        )
    if not target.runner:
        raise TargetError(f"target `{target.name}` names no runner", hint="add one to target.toml")
    words: list[str] = []
    for word in target.runner:
        match word:
            case "{arguments}":
                words += arguments
            case _ if "{semihosting}" in word:
                words.append(word.format(semihosting=_semihosting([program.name, *arguments])))
            case _:
                words.append(word.format(core=core, program=program.resolve()))
    if target.runner[0] != "{program}":
        words[0] = find_program(words[0], target)
    return words


def _semihosting(words: Sequence[str]) -> str:
    """Return the words as QEMU wants them: options of their own, with commas doubled.

    The program gets them as one line, so none may hold a space.
    """
    assert not any(" " in word for word in words), words
    return "".join(f",arg={word.replace(',', ',,')}" for word in words)


def _ending(status: int) -> str:
    """Say how a program ended; QEMU hands on the signal of its guest, or 128 plus its number."""
    number = -status if status < 0 else status - 128
    try:
        return f"was stopped by {signal.Signals(number).name}"
    except ValueError:
        return f"ended with status {status}"


def _said(done: subprocess.CompletedProcess[str]) -> str:
    said = done.stderr.strip() or done.stdout.strip()
    return f"\n{first_lines(said)}" if said else ""


def _text(said: bytes | str | None) -> str:
    """Return the text of a stopped program: Python hands over what it had, undecoded."""
    return said.decode("utf-8", "backslashreplace") if isinstance(said, bytes) else said or ""
