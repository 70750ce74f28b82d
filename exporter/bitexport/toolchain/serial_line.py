"""A microcontroller on a serial line: its program stays on the board and is asked, line by line.

The board speaks as targets/runtime/runner/runner_serial.c says.  Everything that goes over the line
is compared by a digest: bits that differ are those of the board, never those of the line.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bitexport.errors import BundleError, RunError, ToolchainError
from bitexport.targets import LineRunner, Target
from bitexport.toolchain.emulate import TIMEOUT_SECONDS
from bitexport.toolchain.programs import first_lines

HELLO_SECONDS, HELLO_PAUSE, QUIET_SECONDS = 10.0, 1.0, 0.3
READY = b"m-ready"
NAME = re.compile(rb"m-name-.*\[bitexport\]")
MODEL = re.compile(rb"m-model-\[([0-9a-f]{64})\]")
INPUT = re.compile(rb"m-input-\[([0-9a-f]{16})\]")
LINE = re.compile(rb"m-\[(.*)\]")
RESULTS = re.compile(rb"m-results-\[(\d+),([0-9a-f]{16})\]")
NOISE = "look at the cable, or take a lower baud rate on both ends: serial:PORT,BAUD"


class Board:
    """A board that answers; `open_board` makes one."""

    def __init__(self, runner: LineRunner, where: str, port: Any) -> None:
        self.runner, self._where, self._port = runner, where, port
        self._unread, self._in_step = b"", True

    def __str__(self) -> str:
        """Return it as the user names it."""
        return self._where

    def require_model(self, digest: str, bundle: Path) -> None:
        """Refuse a board that has another model in its flash than a bundle."""
        found = _first(MODEL, self._ask(self.runner.model))
        if found is None:
            raise ToolchainError(f"{self} does not say which model it has", hint=NOISE)
        if found[1].decode() != digest:
            raise BundleError(
                f"{self} has another model: its SHA-256 is {found[1].decode()[:16]}..., that of "
                f"{bundle} {digest[:16]}...",
                hint="flash the `on_serial` of this bundle: bitexport package BUNDLE --mcu",
            )

    def run(
        self, target: Target, core: str, program: Path, arguments: Sequence[str],
        timeout: float = TIMEOUT_SECONDS, data: bytes = b"",
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run `runner` or `talk`, both in the board's program, and return what it said.

        `data` is the file that it reads, if it reads one.  Raises as `emulate.run` does, and a
        ToolchainError where the line fails.
        """
        target.expected_isas(core)
        if not self._in_step:  # an answer was not heard to its end
            self.greet()
        words = [program.stem, *arguments]
        given = " ".join(words).encode() + b"\0" + data
        self._send(given)
        lines = self._ask(self.runner.start, timeout)
        said, status = _checked(lines, given, str(self))
        done = subprocess.CompletedProcess(words, status, said, "")
        if status != 0:
            shown = f"\n{first_lines(said)}" if said else ""
            raise RunError(
                f"`{program.stem}` on {self} ended with status {status}{shown}", completed=done
            )
        return done

    def greet(self) -> None:
        """Wait for a board that may still start, and for the end of what it said before."""
        end = time.monotonic() + HELLO_SECONDS
        heard = b""
        while not NAME.search(heard):
            if time.monotonic() > end:
                told = f"it said {_shown(heard)}" if heard else "it says nothing"
                raise ToolchainError(
                    f"{self} does not answer `{self.runner.hello}`: {told}",
                    hint="flash the `on_serial` of `bitexport package BUNDLE --mcu`, and give its "
                    "baud rate behind the port: serial:PORT,BAUD",
                )
            self._write(self.runner.hello)
            heard += self._read_until_quiet(HELLO_PAUSE)
        self._unread = b""

    def _read_until_quiet(self, patience: float) -> bytes:
        heard, end = b"", time.monotonic() + HELLO_SECONDS
        while (part := self._read(patience)) and time.monotonic() < end:
            heard, patience = heard + part, QUIET_SECONDS
        return heard

    def _send(self, given: bytes) -> None:
        self._ask(self.runner.load.format(bytes=len(given)))
        step = self.runner.data_bytes
        for start in range(0, len(given), step):
            self._ask(self.runner.data.format(hex=given[start : start + step].hex()))

    def _ask(self, command: str, timeout: float = TIMEOUT_SECONDS) -> list[bytes]:
        """Return the lines of an answer, without the last."""
        self._in_step = False
        self._write(command)
        lines: list[bytes] = []
        end = time.monotonic() + timeout
        while True:
            *whole, self._unread = self._unread.split(b"\n")
            for at, line in enumerate(each.strip(b"\r") for each in whole):
                if line == READY:
                    self._unread = b"\n".join([*whole[at + 1 :], self._unread])
                    self._in_step = True
                    return lines
                if line.startswith(b"e-["):
                    raise ToolchainError(f"{self} refuses `{command}`: {_shown(line)}", hint=NOISE)
                lines.append(line)
            part = self._read(self.runner.silence)
            if not part or time.monotonic() > end:
                last = lines[-1] if lines else self._unread
                told = f"its last word was {_shown(last)}" if last else "it says nothing"
                wait = timeout if part else self.runner.silence
                raise ToolchainError(
                    f"{self} did not end its answer to `{command}` within {wait:g} seconds: {told}",
                    hint="reset the board and try again; if it lost bytes, " + NOISE,
                )
            self._unread += part

    def _write(self, command: str) -> None:
        with self._told():
            self._port.write(command.encode())

    def _read(self, patience: float) -> bytes:
        with self._told():
            self._port.timeout = patience
            return bytes(self._port.read(max(1, self._port.in_waiting)))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # pyserial's own are of this kind
            raise ToolchainError(
                f"{self} was cut off: {error.strerror or error}", hint="plug it in again"
            ) from error


@contextmanager
def open_board(runner: LineRunner, where: str, device: str) -> Iterator[Board]:
    """Open the port `device`, with `,BAUD` behind it for another rate, and greet the board."""
    path, comma, rate = device.rpartition(",")
    if comma and not rate.isdecimal():
        raise ToolchainError(
            f"`{where}`: `{rate}` is no baud rate",
            hint="write a number: serial:/dev/ttyACM0,921600",
        )
    serial = _import_serial()
    try:
        port = serial.serial_for_url(
            path if comma else device, int(rate) if comma else runner.baud, timeout=QUIET_SECONDS,
            write_timeout=HELLO_SECONDS, exclusive=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ToolchainError(
            f"{where} cannot be opened: {error}",
            hint="`ls /dev/tty*` lists ports; your user must be in the group of the port",
        ) from error
    with port:
        board = Board(runner, where, port)
        board.greet()
        yield board


def _checked(lines: Sequence[bytes], given: bytes, board: str) -> tuple[str, int]:
    """Return what a program printed and its status; refuse what the line has changed."""
    found, results = _first(INPUT, lines), _first(RESULTS, lines)
    if found is None or found[1].decode() != _digest(given):
        raise ToolchainError(f"what was sent to {board} did not arrive as it was", hint=NOISE)
    said = [each[1] + b"\n" for line in lines if (each := LINE.fullmatch(line))]
    if results is None or results[2].decode() != _digest(b"".join(said)):
        raise ToolchainError(f"what {board} said did not arrive as it was", hint=NOISE)
    return b"".join(said).decode("utf-8", "backslashreplace"), int(results[1])


def _first(pattern: re.Pattern[bytes], lines: Sequence[bytes]) -> re.Match[bytes] | None:
    return next((found for line in lines if (found := pattern.fullmatch(line))), None)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _shown(heard: bytes) -> str:
    return f"`{first_lines(heard[-160:].decode('ascii', 'backslashreplace'))}`"


def _import_serial() -> Any:
    try:
        import serial
    except ImportError as error:
        raise ToolchainError(
            "pyserial is not installed; the runner `serial` needs it",
            hint="pip install 'bitexport[serial]'",
        ) from error
    return serial
