"""Opens page.html in headless Chromium, and waits for what it posts back."""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from tests.runtimes.places import HERE, NODE_MODULES, Runs, browser

SECONDS = 120
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--no-first-run", "--disable-background-networking")  # fmt: skip
TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm", ".html": "text/html"}


def run_in_browser(runs: Runs, bundle: Path, graph: str) -> Mapping[str, Any]:
    """Run a graph of a bundle in onnxruntime-web on a page; as the other runners do."""
    posted: queue.Queue[tuple[str, bytes]] = queue.Queue()
    task = {
        "graph": graph, "data": f"{graph}_data", "prompt": len(runs.prompt),
        "tokens": np.fromfile(runs.tokens, "<i4").tolist(),
    }  # fmt: skip
    roots = {"bundle": bundle, "dist": NODE_MODULES / "onnxruntime-web/dist"}

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            top, _, rest = self.path.strip("/").partition("/")
            file = roots[top] / PurePosixPath(rest).name if top in roots else HERE / top
            if top != "task.json" and not file.is_file():
                self.send_error(404)
                return
            data = json.dumps(task).encode() if top == "task.json" else file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", TYPES.get(file.suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()
            posted.put((self.path, body))

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as profile:
        page = f"http://127.0.0.1:{server.server_port}/page.html"
        command = [browser() or "chromium", *FLAGS, f"--user-data-dir={profile}", page]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return _wait(runs, posted)
        finally:
            process.terminate()
            process.wait()
            server.shutdown()
            server.server_close()


def _wait(runs: Runs, posted: queue.Queue[tuple[str, bytes]]) -> Mapping[str, Any]:
    while True:
        path, body = posted.get(timeout=SECONDS)
        assert path != "/failed", body.decode()
        if path == "/logits":
            (runs.folder / "logits").write_bytes(body)
        else:
            said: dict[str, Any] = json.loads(body)
            return said
