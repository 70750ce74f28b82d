"""What a long work says while it runs: which stage it is in, how far, how fast, how long still."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TextIO

TERMINAL_SECONDS, FILE_SECONDS = 0.1, 10.0
BAR_COLUMNS = 24
NAME_COLUMNS = 14
FINE_SECONDS = 9.95  # below it tenths are shown

Advance = Callable[[int], None]
"""Takes how much of the stage is done so far."""


class Progress(Protocol):
    """Hears what is going on."""

    def say(self, text: str) -> None:
        """Take a sentence about the work."""

    def stage(
        self, name: str, total: int = 0, unit: str = "bytes"
    ) -> AbstractContextManager[Advance]:
        """Take part in a stage of `total` units, or of a size that nobody knows."""


class Silent:
    """Keeps it to itself."""

    def say(self, text: str) -> None:
        """Say nothing."""

    @contextlib.contextmanager
    def stage(self, name: str, total: int = 0, unit: str = "bytes") -> Iterator[Advance]:
        """Show nothing."""
        yield lambda done: None


SILENT = Silent()


class StreamProgress:
    """Writes a line for each stage that has ended, and a bar while it runs on a terminal.

    In a file a stage that takes long gets a plain line now and then.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._terminal = stream.isatty()

    def say(self, text: str) -> None:
        """Write a line."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    @contextlib.contextmanager
    def stage(self, name: str, total: int = 0, unit: str = "bytes") -> Iterator[Advance]:
        """Show a stage; its last line says how much there was, how long it took, and the rate."""
        start = shown = self._clock()
        title = f"{name:{NAME_COLUMNS}}"

        def advance(done: int) -> None:
            nonlocal shown
            now = self._clock()
            if now - shown < (TERMINAL_SECONDS if self._terminal else FILE_SECONDS):
                return
            shown = now
            self._show(f"{title} {self._so_far(done, total, unit, now - start)}")

        if self._terminal:
            self._show(title)
        try:
            yield advance
        except BaseException:
            self._clear()
            raise
        seconds = self._clock() - start
        self._clear()
        whole = f"{_amount(total, unit)} in " if total else ""
        rate = f", {_rate(total, unit, seconds)}" if total else ""
        self.say(f"{title} {whole}{duration(seconds)}{rate}")

    def _so_far(self, done: int, total: int, unit: str, seconds: float) -> str:
        if not total or not done:
            return duration(seconds)
        left = duration((total - done) * seconds / done)
        words = (
            f"{100 * done // total:3} % of {_amount(total, unit)}, "
            f"{_rate(done, unit, seconds)}, {left} left"
        )
        if not self._terminal:
            return words
        full = BAR_COLUMNS * done // total
        return f"[{'#' * full}{'.' * (BAR_COLUMNS - full)}] {words}"

    def _show(self, line: str) -> None:
        self._stream.write(f"\r{line}\x1b[K" if self._terminal else f"{line}\n")
        self._stream.flush()

    def _clear(self) -> None:
        if self._terminal:
            self._show("")


def duration(seconds: float) -> str:
    """Return a duration for people: 0.4 s, 12 s, 3 min 05 s, 2 h 07 min."""
    if seconds < FINE_SECONDS:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left:02} min" if hours else f"{minutes} min {rest:02} s"


def size(count: float) -> str:
    """Return a number of bytes for people: 512 bytes, 1.2 kB, 34 MB, 1.18 GB."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= one:
            return f"{count / one:.3g} {unit}"
    return f"{count:.0f} bytes"


def _amount(count: int, unit: str) -> str:
    return size(count) if unit == "bytes" else f"{count} {unit}"


def _rate(count: int, unit: str, seconds: float) -> str:
    rate = count / max(seconds, 1e-9)
    return f"{size(rate)}/s" if unit == "bytes" else f"{rate:.0f} {unit}/s"
