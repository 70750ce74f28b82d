"""A model's file comes whole or not at all, and a broken download goes on where it ended."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.exporter.package.android.conftest import CHUNK_BYTES, Jdk

from bitexport.emit.manifest import Bundle
from bitexport.package.android.delivery import delivery_properties
from bitexport.package.delivery import Delivered, delivered_name
from bitexport.targets import load_targets


@pytest.fixture(scope="module")
def name(story: Bundle) -> str:
    return delivered_name(story)


@dataclasses.dataclass
class Host:
    """A server of one file, as it should be or not."""

    name: str
    body: bytes
    ends_at: int | None = None
    """Where it breaks a connection, in bytes of the file."""
    ranges: bool = True
    damaged: int | None = None
    asked: list[str | None] = dataclasses.field(default_factory=list)
    """The range of each request."""


@contextlib.contextmanager
def serving(host: Host) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Range"]
            host.asked.append(asked)
            if self.path != f"/models/{host.name}":
                self.send_error(404)
                return
            begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            begin = begin if host.ranges else 0
            body = bytearray(host.body)
            if host.damaged is not None:
                body[host.damaged] ^= 1
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(body) - begin))
            self.end_headers()
            self.wfile.write(body[begin : host.ends_at])

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/models/"
        server.shutdown()
        thread.join()


def test_a_broken_download_goes_on_behind_its_last_whole_chunk(
    jdk: Jdk, story: Bundle, name: str, tmp_path: Path
) -> None:
    body = story.data.read_bytes()
    host = Host(name, body, ends_at=3 * CHUNK_BYTES + 1000)
    with serving(host) as address:
        _, missing = jdk.run("download", tmp_path, address)
        assert missing == "true"
        part = tmp_path / f"{name}.part"
        assert part.stat().st_size == 3 * CHUNK_BYTES
        host.ends_at = None
        assert jdk.run("download", tmp_path, address) == ["whole"]
        assert jdk.run("download", tmp_path, address) == ["whole"]
    assert host.asked == [None, f"bytes={3 * CHUNK_BYTES}-"]  # and the third time nothing
    assert (tmp_path / name).read_bytes() == body
    assert not part.exists()


def test_a_chunk_that_is_damaged_on_the_way_or_here_is_fetched_again(
    jdk: Jdk, story: Bundle, name: str, tmp_path: Path
) -> None:
    body = story.data.read_bytes()
    host = Host(name, body, damaged=2 * CHUNK_BYTES + 5)
    with serving(host) as address:
        assert jdk.run("download", tmp_path, address) == [
            f"{name}: chunk 2 is not as its hash", "true",
        ]  # fmt: skip
        part = tmp_path / f"{name}.part"
        here = bytearray(part.read_bytes())
        assert len(here) == 2 * CHUNK_BYTES
        here[CHUNK_BYTES] ^= 1
        part.write_bytes(here)
        host.damaged = None
        assert jdk.run("download", tmp_path, address) == ["whole"]
    assert host.asked == [None, f"bytes={CHUNK_BYTES}-"]
    assert (tmp_path / name).read_bytes() == body


def test_a_server_without_ranges_begins_again(
    jdk: Jdk, story: Bundle, name: str, tmp_path: Path
) -> None:
    body = story.data.read_bytes()
    (tmp_path / f"{name}.part").write_bytes(body[: CHUNK_BYTES + 7])
    with serving(Host(name, body, ranges=False)) as address:
        assert jdk.run("download", tmp_path, address) == ["whole"]
    assert (tmp_path / name).read_bytes() == body


def test_a_server_with_another_file_adds_nothing(
    jdk: Jdk, story: Bundle, name: str, tmp_path: Path
) -> None:
    body = story.data.read_bytes()
    other = body[: 2 * CHUNK_BYTES] + body[2 * CHUNK_BYTES :][::-1]
    host = Host(name, b"<html>Please log in to this network.</html>")
    with serving(host) as address:
        ended = f"{name}: the stream ended at byte 43 of {len(body)}"
        assert jdk.run("download", tmp_path, address) == [ended, "true"]
        host.body = other
        differs = f"{name}: chunk 2 is not as its hash"
        for _ in range(2):
            assert jdk.run("download", tmp_path, address) == [differs, "true"]
            assert (tmp_path / f"{name}.part").read_bytes() == body[: 2 * CHUNK_BYTES]
        host.body = body
        assert jdk.run("download", tmp_path, address) == ["whole"]
    resumed = f"bytes={2 * CHUNK_BYTES}-"
    assert host.asked == [None, None, resumed, resumed]


def test_a_server_that_has_no_such_file_is_named(
    jdk: Jdk, story: Bundle, name: str, tmp_path: Path
) -> None:
    with serving(Host(name, b"")) as address:
        wrong = address.replace("models", "elsewhere")
        said, missing = jdk.run("download", tmp_path, wrong)
    assert (said, missing) == (f"{wrong}{name}: the server says 404", "true")


def test_an_asset_is_copied_and_checked(jdk: Jdk, story: Bundle, name: str, tmp_path: Path) -> None:
    assert jdk.run("install", tmp_path, str(story.data)) == [
        "whole", "true", f"{name}: stopped at byte 0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["arm64", "host", "arm64-v8.0"], "host"),
        (["arm64", "arm64-v8.0"], "arm64-v8.0"),  # this core has neither's, and lacks fewer
        (["cortex-m4", "arm64"], "cortex-m4"),
    ],
)
def test_a_device_takes_the_file_that_its_core_runs_best(
    names: list[str], chosen: str, jdk: Jdk, tmp_path: Path
) -> None:
    targets = load_targets()
    listed = [
        Delivered(name=name, nbytes=1, isas=targets[name].isas, chunks=("0" * 64,))
        for name in names
    ]
    place = jdk.classes / "ai/bitexport/models.properties"
    before = place.read_bytes()
    place.write_bytes(delivery_properties(listed))
    try:
        assert jdk.run("choose", tmp_path)[0] == chosen
    finally:
        place.write_bytes(before)
