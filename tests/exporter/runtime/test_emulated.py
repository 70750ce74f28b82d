"""What an emulated core says is an answer with one end, whenever a caller cancels or leaves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tiny_checkpoint import PROMPT, Checkpoint

from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.runtime import Answer, Chosen, End, Ended
from bitexport.runtime.emulated import EmulatedModel
from bitexport.runtime.voice import emulated_voice, native_voice
from bitexport.targets import find_target

SAYS = """#!{python}
import pathlib, sys, time
print("given 1\\ntoken 5 61", flush=True)
time.sleep({first})
print("ended 2 - -", flush=True)
time.sleep(0.5)
pathlib.Path(sys.argv[sys.argv.index("--save") + 1]).write_text("whole")
print("saved 5\\nend", flush=True)
"""

Core = Callable[[float], EmulatedModel]


@pytest.fixture
def core(tmp_path: Path) -> Core:
    """Return a function that makes a core that takes its time before an end, and behind it."""

    def make(first: float) -> EmulatedModel:
        program = tmp_path / "talk"
        program.write_text(SAYS.format(python=sys.executable, first=first), encoding="utf-8")
        program.chmod(0o755)
        return EmulatedModel(find_target("host"), "native", program, tmp_path / "model.bitx")

    return make


def test_who_cancels_behind_the_end_has_one_end_and_the_whole_session(
    core: Core, tmp_path: Path
) -> None:
    model, saved = core(0), tmp_path / "saved"
    events = []
    for event in model.answer([1], {}, Answer(), words=["--save", str(saved)]):
        events.append(event)
        if isinstance(event, Ended):
            model.cancel()
    assert events == [Chosen(5, "a"), Ended(End.LENGTH, None, "", None)]
    assert saved.read_text() == "whole"


def test_who_cancels_before_the_end_has_one_too(core: Core, tmp_path: Path) -> None:
    model, saved = core(60), tmp_path / "saved"
    events = []
    for event in model.answer([1], {}, Answer(), words=["--save", str(saved)]):
        events.append(event)
        if isinstance(event, Chosen):
            model.cancel()
    assert events == [Chosen(5, "a"), Ended(End.CANCELLED, None, "", None)]
    assert not saved.exists()


def test_an_answer_that_is_dropped_leaves_what_was_resumed_to_go_on_from(
    tiny: Checkpoint, tmp_path: Path
) -> None:
    target = find_target("host")
    bundle = build_bundle(tiny.path, target, Options(), tmp_path / "out", Wanted(self_test=False))
    with native_voice(bundle, {}, threads=1, draft=0) as voice:
        list(voice.say(PROMPT, Answer(most_tokens=3)))
        resumed, before = voice.save(), [*voice.given, *voice.chosen]
    with emulated_voice(bundle, target, "native", {}, threads=1) as voice:
        voice.restore(resumed)
        answer = voice.say(PROMPT, Answer(most_tokens=30))
        next(answer)
        given = voice.given
        assert given[: len(before)] == before
        del answer
        list(voice.say(PROMPT, Answer(most_tokens=1)))
        assert voice.given[: len(given)] == given
