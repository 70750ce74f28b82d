"""Real devices: what is sent to one and started there, in the words of targets/runners/*.toml."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bitexport.errors import RunError, ToolchainError
from bitexport.targets import LineRunner, Runner, Target, find_runner
from bitexport.toolchain.emulate import TIMEOUT_SECONDS, run_command
from bitexport.toolchain.programs import find_command, first_lines
from bitexport.toolchain.serial_line import Board, open_board

ERRAND_SECONDS = 60.0
SLOWEST_LINK = 1e5  # bytes a second
FOLDER = re.compile(r"/[\w./-]*/bitexport-\w+")


class Remote:
    """A folder on a device; what is sent there once stays until the connection ends."""

    def __init__(self, runner: Runner, device: str, folder: str) -> None:
        self.runner, self.device, self._folder = runner, device, folder
        self._sent: dict[Path, str] = {}

    def __str__(self) -> str:
        """Return it as the user names it."""
        return f"{self.runner.name}:{self.device}"

    def send(self, file: Path) -> str:
        """Return where a file lies on the device, after sending it there."""
        file = file.resolve()
        if file not in self._sent:
            name = f"{len(self._sent)}-{file.name}"
            patience = ERRAND_SECONDS + file.stat().st_size / SLOWEST_LINK
            _errand(self.runner.send, patience, f"sending {file.name} to {self}",
                    self.runner, device=self.device, file=str(file), folder=self._folder,
                    name=name)  # fmt: skip
            self._sent[file] = f"{self._folder}/{name}"
        return self._sent[file]

    def command(self, program: Path, arguments: Sequence[str]) -> list[str]:
        """Return the words that start a program over there, after sending it."""
        line = shlex.join([self.send(program), *arguments])
        return _words(self.runner.start, self.runner, device=self.device, command=line)

    def run(
        self, target: Target, core: str, program: Path, arguments: Sequence[str],
        timeout: float = TIMEOUT_SECONDS,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a program on the device and return what it said, as `emulate.run` does."""
        target.expected_isas(core)
        place = f"`{program.name}` on {self}"
        return run_command(self.command(program, arguments), place, timeout, env=None)


@contextmanager
def connect(where: str) -> Iterator[Remote | Board]:
    """Make a folder on a device, `ssh:pi@board` or `adb:SERIAL`, and remove it at the end.

    `serial:/dev/ttyACM0` has no folders; its program is in flash.
    """
    name, _, device = where.partition(":")
    runner = find_runner(name)
    if not device or device.startswith("-"):
        raise ToolchainError(
            f"`{where}` names no device", hint=f"write `{name}:DEVICE`: {runner.summary}"
        )
    if isinstance(runner, LineRunner):
        with open_board(runner, where, device) as board:
            yield board
        return
    doing = f"making a folder on {where}"
    said = _errand(runner.make, ERRAND_SECONDS, doing, runner, device=device)
    folder = (said.split() or [""])[-1]
    if not FOLDER.fullmatch(folder):
        raise ToolchainError(
            f"{doing} failed: it said `{first_lines(said)}`",
            hint=f"`make` of the runner `{name}` must print a folder bitexport-*, last",
        )
    try:
        yield Remote(runner, device, folder)
    finally:
        doing = f"removing {folder} on {where}"
        _errand(runner.remove, ERRAND_SECONDS, doing, runner, device=device, folder=folder)


def _errand(words: Sequence[str], patience: float, doing: str, runner: Runner, **parts: str) -> str:
    command = _words(words, runner, **parts)
    try:
        return run_command(command, doing, patience, env=None).stdout
    except RunError as error:
        raise ToolchainError(str(error), hint=f"by hand: {shlex.join(command)}") from error


def _words(words: Sequence[str], runner: Runner, **parts: str) -> list[str]:
    program, *rest = words
    found = find_command(program, f"the runner `{runner.name}`", runner.debian)
    return [found, *(word.format(**parts) for word in rest)]
