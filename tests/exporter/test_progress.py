"""A stage says how far it is: a bar on a terminal, plain lines in a file."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from bitexport.progress import SILENT, StreamProgress, duration, size


class Screen(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        """Answer as it was told."""
        return self.terminal


class Clock:
    """A time that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        """Return it."""
        return self.now


@pytest.fixture
def shown() -> Callable[[bool], str]:
    """Return a function that shows a stage of 100 MB, a quarter of it in 5 seconds."""

    def show(terminal: bool) -> str:
        screen, clock = Screen(terminal), Clock()
        progress = StreamProgress(screen, clock)
        progress.say("model: 5 ops")
        with progress.stage("packing", 100_000_000) as advance:
            clock.now = 5.0
            advance(25_000_000)
            clock.now = 15.0
            advance(75_000_000)
            clock.now = 20.0
        with progress.stage("library"):
            clock.now = 23.0
        return screen.getvalue()

    return show


def test_a_terminal_shows_share_rate_and_time_left(shown: Callable[[bool], str]) -> None:
    seen = shown(True)
    assert seen.startswith("model: 5 ops\n")
    frames = [frame.removesuffix("\x1b[K") for frame in seen.split("\n", 1)[1].split("\r")]
    assert "packing        [######..................]  25 % of 100 MB, 5 MB/s, 15 s left" in frames
    assert "packing        [##################......]  75 % of 100 MB, 5 MB/s, 5.0 s left" in frames
    assert seen.endswith("packing        100 MB in 20 s, 5 MB/s\n\rlibrary       \x1b[K\r\x1b[K"
                         "library        3.0 s\n")  # fmt: skip


def test_a_file_gets_plain_lines_and_only_now_and_then(shown: Callable[[bool], str]) -> None:
    assert shown(False).splitlines() == [
        "model: 5 ops",
        "packing         75 % of 100 MB, 5 MB/s, 5.0 s left",
        "packing        100 MB in 20 s, 5 MB/s",
        "library        3.0 s",
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_stage_that_fails_leaves_no_bar(terminal: bool) -> None:
    screen = Screen(terminal)

    def fail() -> None:
        with StreamProgress(screen, Clock()).stage("packing", 10) as advance:
            advance(5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert screen.getvalue().endswith("\r\x1b[K" if terminal else "")
    assert "in 0" not in screen.getvalue()


def test_who_asks_for_nothing_hears_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with SILENT.stage("packing", 10) as advance:
        advance(5)
    SILENT.say("x")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"),
     (185, "3 min 05 s"), (7620, "2 h 07 min")],
)  # fmt: skip
def test_a_duration_is_said_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1200, "1.2 kB"), (34_000_000, "34 MB"),
     (1_181_766_784, "1.18 GB")],
)  # fmt: skip
def test_a_size_is_said_as_people_do(count: int, text: str) -> None:
    assert size(count) == text
