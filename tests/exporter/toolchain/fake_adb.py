"""An adb server with one phone, which is a folder of this machine: the real `adb` talks to it.

It speaks what AOSP's packages/modules/adb (OVERVIEW.TXT, SERVICES.TXT, SYNC.TXT) lay down: requests
behind four hex digits of length; `shell,v2` in packets of kind, length, data; `sync:` with STAT and
SEND.  Commands run here, with the phone's folder in place of /data/local/tmp.
"""

from __future__ import annotations

import socket
import socketserver
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERIAL, FOLDER = "fake0001", "/data/local/tmp"
VERSION = 41  # of adb 29 and newer: a client ends a server of another
PACKET = 16384  # a phone sends no larger ones
STDOUT, STDERR, EXIT = 1, 2, 3


class Request(socketserver.StreamRequestHandler):
    """One connection of the client: requests, until one takes the connection over."""

    server: Server

    def handle(self) -> None:
        """Answer until a service has the connection."""
        while length := self.rfile.read(4):
            service = self.rfile.read(int(length, 16)).decode()
            self.server.asked.append(service)
            kind, _, rest = service.partition(":")
            if service == "host:version":
                return self._okay(f"{VERSION:04x}")
            if service.endswith(":features") or service == "host:host-features":
                return self._okay("shell_v2")
            if service in (f"host:tport:serial:{SERIAL}", f"host:transport:{SERIAL}"):
                self.wfile.write(b"OKAY" + (struct.pack("<Q", 1) if "tport" in service else b""))
            elif kind.startswith("shell,v2"):
                self.wfile.write(b"OKAY")
                return self._shell(rest)
            elif kind == "sync":
                self.wfile.write(b"OKAY")
                return self._sync()
            else:
                message = f"device not found: {service}".encode()
                self.wfile.write(b"FAIL%04x%b" % (len(message), message))
                return None
        return None

    def _okay(self, text: str) -> None:
        self.wfile.write(f"OKAY{len(text):04x}{text}".encode())

    def _shell(self, line: str) -> None:
        here = str(self.server.folder)
        done = subprocess.run(
            ["sh", "-c", line.replace(FOLDER, here)], capture_output=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        out = done.stdout.replace(here.encode(), FOLDER.encode())
        for kind, data in ((STDOUT, out), (STDERR, done.stderr), (EXIT, bytes([done.returncode]))):
            for start in range(0, len(data), PACKET):
                part = data[start : start + PACKET]
                self.wfile.write(struct.pack("<BI", kind, len(part)) + part)
        self.connection.shutdown(socket.SHUT_WR)
        self.rfile.read()  # what is unread at the end would take the answer along

    def _sync(self) -> None:
        while (head := self.rfile.read(8)) and head[:4] != b"QUIT":
            name = self.rfile.read(struct.unpack("<I", head[4:])[0]).decode()
            if head[:4] == b"STAT":  # there is no such file
                self.wfile.write(b"STAT" + bytes(12))
                continue
            assert head[:4] == b"SEND", head
            path, _, mode = name.rpartition(",")
            file = Path(path.replace(FOLDER, str(self.server.folder)))
            with file.open("wb") as output:
                while (part := self.rfile.read(8))[:4] == b"DATA":
                    output.write(self.rfile.read(struct.unpack("<I", part[4:])[0]))
            file.chmod(int(mode) & 0o777)
            self.wfile.write(b"OKAY" + bytes(4))


class Server(socketserver.ThreadingTCPServer):
    """Listens on a port that nobody had."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.folder, self.asked = folder, list[str]()


@contextmanager
def adb_server(folder: Path) -> Iterator[Server]:
    """Serve a phone whose /data/local/tmp is a folder, until the end."""
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
