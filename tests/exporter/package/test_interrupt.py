"""A build that is told to stop leaves nothing behind, whenever it is told; no simulation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.tiny_checkpoint import Shape, write_checkpoint

from bitexport.emit.manifest import file_digests, open_bundle

MODEL = Shape(hidden=512, inner=1536, layers=4, heads=8, kv_heads=4, vocabulary=1024)
INT, TERM = signal.SIGINT, signal.SIGTERM
OVER = [(0.2, INT), (0.35, TERM), (0.5, INT), (0.6, TERM), (0.75, INT), (0.85, TERM), (0.95, INT)]
NEW = [(0.3, INT), (0.7, TERM), (0.9, INT)]  # moments: parts of the time that a whole build takes
STOPPED = {130, -signal.SIGINT, -signal.SIGTERM}  # the latter two while Python still imports
SECONDS = 120


class Work:
    """A folder to build in, and a folder for everybody's temporary files."""

    def __init__(self, checkpoint: Path, folder: Path) -> None:
        self.checkpoint = checkpoint
        self.output, self.temporary = folder / "made" / "deep" / "out", folder / "tmp"
        self.temporary.mkdir()

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a build, as the leader of a process group like the one of a terminal."""
        command = [sys.executable, "-m", "bitexport", "build", str(self.checkpoint)]
        environment = {**os.environ, "TMPDIR": str(self.temporary), "CCACHE_DISABLE": "1"}
        return subprocess.Popen(
            [*command, "--target", "armv7", "-o", str(self.output), *words], env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("stopped")
    return Work(write_checkpoint(folder / "model", MODEL).path, folder)


@pytest.fixture(scope="module")
def duration(work: Work) -> float:
    """Return how long a build takes here; its bundle stays, for the builds with --force."""
    start = time.monotonic()
    assert work.start().wait(SECONDS) == 0
    return time.monotonic() - start


def stop(process: subprocess.Popen[bytes], after: float, number: signal.Signals) -> int:
    """Send Ctrl-C to the group, as a terminal does, or SIGTERM to the process, as `kill` does."""
    time.sleep(after)
    if process.poll() is None:
        if number is signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    status = process.wait(SECONDS)
    deadline = time.monotonic() + SECONDS
    while group_lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not group_lives(process.pid)
    return status


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("moment", "number"), OVER)
def test_what_was_there_is_there_and_nothing_else(
    moment: float, number: signal.Signals, work: Work, duration: float
) -> None:
    """With --force over the bundle of the same checkpoint: the same bytes before and after."""
    before = file_digests(work.output)
    status = stop(work.start("--force"), moment * duration, number)
    assert status in STOPPED | {0}
    assert file_digests(work.output) == before
    assert [*work.output.parent.iterdir()] == [work.output]
    assert [*work.temporary.iterdir()] == []


@pytest.mark.parametrize(("moment", "number"), NEW)
def test_a_new_bundle_appears_whole_or_not_at_all(
    moment: float, number: signal.Signals, work: Work, duration: float, tmp_path: Path
) -> None:
    fresh = Work(work.checkpoint, tmp_path)
    status = stop(fresh.start(), moment * duration, number)
    if fresh.output.exists():
        open_bundle(fresh.output, check_files=True)
        assert [*fresh.output.parent.iterdir()] == [fresh.output]
    else:
        assert status in STOPPED
        assert [*tmp_path.iterdir()] == [fresh.temporary]
    assert [*fresh.temporary.iterdir()] == []
