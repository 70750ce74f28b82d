"""A tool that is interrupted ends with everything that it started."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from bitexport.errors import ToolchainError
from bitexport.toolchain.programs import run_tool

AFTER, LONG = 0.5, 60


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Interrupt the test after a moment, as Ctrl-C would."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, AFTER)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupted_tool_tidies_up_and_its_children_end(tmp_path: Path) -> None:
    """What it started holds its stderr open: waiting for that ends only when all have ended."""
    script = f"""
        trap 'rm scratch; exit 1' TERM
        touch scratch
        sleep {LONG} &
        wait
    """
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_tool(["sh", "-c", script], folder=tmp_path, doing="sleeping")
    assert time.monotonic() - start < LONG / 2
    assert list(tmp_path.iterdir()) == []


def test_a_tool_that_refuses_is_shown_by_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="sleeping failed\nno bed") as refusal:
        run_tool(["sh", "-c", "echo no bed >&2; exit 3"], folder=tmp_path, doing="sleeping")
    assert "sh -c" in str(refusal.value.hint)
