"""The story model says the same on every core, and as the reference; sessions move between them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.generate.conftest import Build, Reference, read

from bitexport.runtime import Answer, Chosen, Ended, HostModel, open_model
from bitexport.runtime.emulated import EmulatedModel, emulated_model
from bitexport.runtime.model import Message
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


def test_a_session_saved_on_any_core_is_that_of_this_machine(
    device: EmulatedModel, here: HostModel, tmp_path: Path
) -> None:
    session = here.session()
    session.give(here.encode(PROMPT))
    sampler = dataclasses.replace(here.sampler(), **SAMPLERS["sampled"])
    list(session.answer(sampler, Answer(most_tokens=8)))
    data = device.data.read_bytes()[:64]
    saved = session.save()
    # Another target's file has another layout of weights, so another header, and so another hash.
    of_device = saved[:16] + hashlib.sha256(data).digest() + saved[48:-32]
    of_device += hashlib.sha256(of_device).digest()
    asked = SAMPLERS["sampled"]
    list(device.answer(PROMPT, asked, Answer(most_tokens=8), words=["--saved", "1"]))
    assert device.saved == of_device[-32:].hex()
    if device.target.os != "linux":
        return  # a board without files is given the bytes by its own program
    (tmp_path / "saved").write_bytes(of_device)
    words = ["--resume", str(tmp_path / "saved")]
    events = list(device.answer(" He", asked, Answer(most_tokens=8), words=words))
    session.give(here.encode(" He", bare=True))
    there = [event.token for event in events if isinstance(event, Chosen)]
    before = session.tokens
    list(session.answer(sampler, Answer(most_tokens=8)))
    assert [*before, *there] == session.tokens
