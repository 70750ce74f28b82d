"""A folder that appears whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from bitexport.errors import OutputError

STOPPING = (signal.SIGINT, signal.SIGTERM)
TRIES = 10  # a compiler that is stopped may write a last file while its folder is removed


@contextlib.contextmanager
def appearing(output: Path, replace: bool) -> Iterator[Path]:
    """Give a folder to write into; it becomes `output` at the end, or vanishes on failure.

    A signal to stop vanishes it like any failure, and waits while it is made, moved or removed.
    """
    made = [parent for parent in output.parents if not parent.exists()]
    scratch: list[Path] = []

    def remove() -> None:
        """Remove what was not moved to its place; once more at exit if even this is stopped."""
        for folder in scratch:
            _remove(folder)
        if not output.exists():
            for parent in made:
                with contextlib.suppress(OSError):
                    parent.rmdir()

    atexit.register(remove)
    try:
        with undisturbed():
            scratch.append(_hidden(output))
        yield scratch[0]
        with undisturbed():
            scratch[0].chmod(0o777 & ~_umask())
            if replace and output.exists():
                _exchange(output, scratch[0])
            else:
                scratch[0].rename(output)
    except OSError as error:
        raise OutputError(
            f"{error.filename or output}: cannot be written: {error.strerror}",
            hint="nothing was left behind; free space or choose another folder",
        ) from error
    finally:
        with undisturbed():
            remove()
            atexit.unregister(remove)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hear signals to stop only afterwards: what is half done now could not be undone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    before: dict[signal.Signals, Any] = {}

    def note(number: int, _: FrameType | None) -> None:
        heard.append(number)

    try:
        for number in STOPPING:
            before[number] = signal.getsignal(number)
            signal.signal(number, note)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if heard:
        signal.raise_signal(heard[0])


def _hidden(output: Path) -> Path:
    """Make a folder of a new name beside `output`."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    except OSError as error:
        raise OutputError(
            f"{output}: cannot be written: {error.strerror}", hint="choose another folder"
        ) from error


def _exchange(output: Path, folder: Path) -> None:
    """Put a folder in the place of another one, which comes back if that fails."""
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-old-", dir=output.parent) as aside:
        old = Path(aside) / output.name
        try:
            output.rename(old)
            folder.rename(output)
        except BaseException:
            if old.exists() and not output.exists():
                old.rename(output)
            raise


def _remove(folder: Path) -> None:
    for _ in range(TRIES):
        if not folder.exists():
            return
        shutil.rmtree(folder, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
