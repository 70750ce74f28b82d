"""A microcontroller at the end of a serial line: QEMU's board behind a pseudo-terminal."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bitexport.emit.manifest import Bundle
from bitexport.targets import Target, find_target
from bitexport.toolchain.compile import SERIAL_FILES, build_runner, find_library
from bitexport.toolchain.programs import find_program


def link_image(bundle: Bundle, image: Path) -> Path:
    """Link what `package --mcu` calls `on_serial`, with the bundle's own library."""
    target = find_target(bundle.target_name)
    library = find_library(target, bundle.path)
    return build_runner(target, library, bundle.path, image, machine_files=SERIAL_FILES)


@contextmanager
def emulated_board(target: Target, image: Path) -> Iterator[str]:
    """Start a board; return the port at which it is found."""
    (machine, *_) = target.cores
    words = ["-M", machine, "-display", "none", "-monitor", "none", "-serial", "pty"]
    with subprocess.Popen(
        [find_program("qemu-system-arm", target), *words, "-kernel", str(image)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as board:  # fmt: skip
        try:
            assert board.stdout is not None
            said = board.stdout.readline()
            port = re.search(r"/dev/pts/\d+", said)
            assert port, said
            yield port[0]
        finally:
            board.kill()


class Cable:
    """Between a port and whoever opens `name`; what it does to the bytes can be changed."""

    def __init__(self, port: str | None) -> None:
        self.to_board: Callable[[bytes], bytes] = lambda data: data
        self.to_host: Callable[[bytes], bytes] = lambda data: data
        self._near, slave = os.openpty()
        self.name = os.ttyname(slave)
        self._ends = [slave, self._near]
        tty.setraw(slave)
        if port is not None:
            self._far = os.open(port, os.O_RDWR | os.O_NOCTTY)
            tty.setraw(self._far)
            self._ends.append(self._far)
            threading.Thread(target=self._carry, daemon=True).start()

    def unplug(self) -> None:
        """Take it away."""
        ends, self._ends = self._ends, []
        for end in ends:
            os.close(end)

    def say(self, noise: bytes) -> None:
        """Let the host hear something that no board has said."""
        os.write(self._near, noise)

    def _carry(self) -> None:
        command = answer = b""  # what has no end yet
        with contextlib.suppress(OSError, ValueError):
            while True:
                ready, _, _ = select.select([self._near, self._far], [], [], 0.1)
                if self._near in ready:
                    command += os.read(self._near, 4096)
                    whole, ended, command = command.rpartition(b"%")
                    os.write(self._far, self.to_board(whole + ended))
                if self._far in ready:
                    answer += os.read(self._far, 4096)
                    whole, ended, answer = answer.rpartition(b"\n")
                    os.write(self._near, self.to_host(whole + ended))


@contextmanager
def cable(port: str | None) -> Iterator[Cable]:
    """Lay a cable to a port, or one that ends nowhere."""
    it = Cable(port)
    try:
        yield it
    finally:
        it.unplug()
