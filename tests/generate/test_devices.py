"""The story model says the same on every core, and as the reference; sessions move between them."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner
from tests.generate.conftest import STORIES, Build, Reference, read

from bitexport.cli import main
from bitexport.emit.manifest import Bundle
from bitexport.errors import BundleError
from bitexport.models.parts.options import Options, TernaryLayout
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.runtime import Answer, Chosen, Ended, HostModel, open_model
from bitexport.runtime.emulated import EmulatedModel, emulated_model
from bitexport.runtime.model import Message
from bitexport.runtime.voice import EmulatedVoice, Voice, native_voice
from bitexport.targets import Target, find_target, load_targets
from bitexport_ref.generator import check_transcript
from bitexport_ref.sampler import Sampler as ReferenceSampler
from bitexport_ref.text.chat import Message as ReferenceMessage
from bitexport_ref.text.chat import Role
from bitexport_ref.text.tokenizer import Tokenizer

CORES = [(target, core) for target in load_targets().values() for core in target.cores]
PROMPT = "Once upon a time, a caf\u00e9 \U0001f600"
SAID = "  Once upon a time <s> there was a dog. "
TOKENS = 24
QUICK = Wanted(self_test=False)
SAMPLERS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampled": {
        "temperature": 0.875, "top_k": 40, "top_p": 0.9375, "min_p": 0.015625,
        "repetition": 1.125, "presence": 0.125, "frequency": 0.0625, "seed": (5 << 32) + 7,
    },
}  # fmt: skip


@pytest.fixture(params=CORES, ids=lambda place: f"{place[0].name}-{place[1]}", scope="module")
def place(request: pytest.FixtureRequest) -> tuple[Target, str]:
    """Return each core of each target in turn."""
    each: tuple[Target, str] = request.param
    return each


@pytest.fixture(scope="module")
def device(place: tuple[Target, str], stories: Build) -> Any:
    """Return the story model on the core."""
    target, core = place
    with emulated_model(stories(target), target, core) as model:
        yield model


@pytest.fixture(scope="module")
def here(stories: Build) -> Any:
    """Return the story model on this machine, called from Python."""
    with open_model(stories(find_target("host")).path) as model:
        yield model


@pytest.fixture(scope="module")
def expected(stories: Build) -> Callable[[str], tuple[Reference, list[int], str]]:
    """Return a function that gives the tokens and the text of an answer by the reference."""
    reference = read(stories(find_target("host")))

    @functools.cache
    def answer(name: str) -> tuple[Reference, list[int], str]:
        sampler = ReferenceSampler(**SAMPLERS[name])
        tokens, text, _ = reference.answer(reference.encode(PROMPT), sampler, TOKENS)
        return reference, tokens, text

    return answer


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_core_says_what_the_reference_says(
    name: str, device: EmulatedModel, expected: Callable[[str], tuple[Reference, list[int], str]]
) -> None:
    reference, tokens, text = expected(name)
    for draft in (0, 4) if device.target.os == "linux" else (0,):
        answer = Answer(most_tokens=TOKENS, draft=draft)
        events = list(device.answer(PROMPT, SAMPLERS[name], answer))
        assert isinstance(events[-1], Ended)
        chosen = [event.token for event in events if isinstance(event, Chosen)]
        assert [*device.given, *chosen] == tokens
        assert "".join(event.text for event in events) == text
        assert device.shown == PROMPT
    sampler = ReferenceSampler(**SAMPLERS[name])
    assert check_transcript(reference.model, device.given, chosen, sampler) is None


def test_every_core_reads_a_conversation_as_this_machine_and_the_reference_do(
    device: EmulatedModel, here: HostModel, expected: Callable[..., Any]
) -> None:
    said = [Message("system", "Max is a dog."), Message("user", SAID)]
    reference: Reference = expected("greedy")[0]
    joined = reference.chat.join([ReferenceMessage(Role(m.role), m.content) for m in said])
    tokenizer = Tokenizer(reference.tables)
    bare = not reference.chat.adds_prefix_tokens
    read_as = tokenizer.encode(joined.text, bare=bare, plain=joined.plain)
    assert read_as.count(1) == 1  # what a user writes is no special token
    assert here.chat_tokens(said) == read_as
    list(device.answer(said, {}, Answer(most_tokens=1)))
    assert list(device.given) == read_as
    again = [Message("user", "And then?")]
    list(device.answer(again, {}, Answer(most_tokens=1), behind=read_as))
    assert list(device.given) == [*read_as, *here.chat_tokens(again, after="assistant")]


def test_a_session_saved_on_any_core_is_that_of_this_machine_and_goes_on_there(
    device: EmulatedModel, here: HostModel, tmp_path: Path
) -> None:
    session = here.session()
    session.give(here.encode(PROMPT))
    sampler = dataclasses.replace(here.sampler(), **SAMPLERS["sampled"])
    list(session.answer(sampler, Answer(most_tokens=8)))
    asked = SAMPLERS["sampled"]
    saved = tmp_path / "saved"
    list(device.answer(PROMPT, asked, Answer(most_tokens=8), words=["--save", str(saved)]))
    assert saved.read_bytes() == session.save()
    words = ["--resume", str(saved)]
    events = list(device.answer(" He", asked, Answer(most_tokens=8), words=words))
    session.give(here.encode(" He", bare=True))
    there = [event.token for event in events if isinstance(event, Chosen)]
    before = session.tokens
    list(session.answer(sampler, Answer(most_tokens=8)))
    assert [*before, *there] == session.tokens


TARGETS = (  # each with the layout that its file has
    ("host", "native", "p2r"), ("arm64-v8.0", "cortex-a53", "p2b"),
    ("cortex-m4", "mps2-an386", "p16"), ("host", "native", "t5x3"), ("host", "native", "p2r"),
)  # fmt: skip
PIECE = 5


def test_a_session_goes_from_layout_to_layout_as_if_it_had_never_left(
    stories: Build, here: HostModel, tmp_path: Path
) -> None:
    whole = here.session()
    whole.give(here.encode(PROMPT))
    sampler = dataclasses.replace(here.sampler(), **SAMPLERS["sampled"])
    list(whole.answer(sampler, Answer(most_tokens=PIECE * len(TARGETS), ignore_ends=True)))
    saved, tokens = tmp_path / "saved", list[int]()
    for name, core, layout in TARGETS:
        own = stories(find_target(name))
        options = Options(layout=cast(TernaryLayout, layout))
        bundle = (
            own
            if own.manifest["layout"] == layout
            else build_bundle(STORIES, find_target(name), options, tmp_path / layout, QUICK)
        )
        assert bundle.manifest["layout"] == layout
        with emulated_model(bundle, find_target(name), core) as model:
            words = ["--resume", str(saved)] if tokens else []
            events = model.answer(
                PROMPT if not tokens else [], SAMPLERS["sampled"], Answer(most_tokens=PIECE),
                words=[*words, "--save", str(saved)],
            )  # fmt: skip
            made = [event.token for event in events if isinstance(event, Chosen)]
            assert list(model.given) == (tokens or here.encode(PROMPT))
            tokens = [*model.given, *made]
    assert tokens == whole.tokens
    assert saved.read_bytes() == whole.save()


def test_a_shorter_context_takes_a_session_that_fits_and_refuses_a_longer_one(
    here: HostModel, tmp_path: Path
) -> None:
    short = build_bundle(
        STORIES, find_target("host"), Options(context=40, layout="p2b"), tmp_path / "out", QUICK
    )
    long, fits = here.session(), here.session()
    long.give([5] * 60)
    fits.give([5] * 30)
    for session in (long, fits):
        list(session.answer(None, Answer(most_tokens=2, ignore_ends=True)))
    with open_model(short.path) as model:
        session = model.session()
        with pytest.raises(BundleError, match="more tokens than the context has room for"):
            session.restore(long.save())
        assert session.tokens == []
        session.restore(fits.save())
        list(session.answer(None, Answer(most_tokens=4, ignore_ends=True)))
    list(fits.answer(None, Answer(most_tokens=4, ignore_ends=True)))
    assert session.tokens == fits.tokens


@pytest.fixture(scope="module")
def chat_here(stories: Build) -> str:
    """Return the transcript of a sampled chat on this machine."""
    bundle = stories(find_target("host"))
    with native_voice(bundle, SAMPLERS["sampled"], threads=1, draft=0) as voice:
        return recorded(voice, bundle)


def recorded(voice: Voice, bundle: Bundle) -> str:
    """Return the transcript of the second answer of a chat."""
    for said in (SAID, "And then?"):
        collections.deque(voice.say([Message("user", said)], Answer(most_tokens=10)), maxlen=0)
    return voice.transcript(bundle).to_json()


def test_a_chat_has_the_same_transcript_on_every_core_and_any_bundle_proves_it(
    device: EmulatedModel, stories: Build, chat_here: str, tmp_path: Path
) -> None:
    bundle = stories(device.target)
    voice = EmulatedVoice(device, bundle, SAMPLERS["sampled"], threads=1)
    transcript = recorded(voice, bundle)
    assert transcript == chat_here
    (tmp_path / "transcript").write_text(transcript, encoding="utf-8")
    words = ["verify", str(bundle.path), "--transcript", str(tmp_path / "transcript")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("equal  ")


def test_the_cores_that_a_story_was_promised_on_are_among_them() -> None:
    cores = {core.partition(",")[0] for _, core in CORES}
    boards = {target.name for target, _ in CORES}
    assert cores >= {"native", "cortex-a53", "cortex-a76", "cortex-a7"}
    assert "cortex-m55" in boards
