"""A generator's events, its end, its tokens: what C promises, seen from this machine."""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.generate.conftest import Reference, manifest_of, read
from tests.tiny_checkpoint import PROMPT

from bitexport.emit.manifest import Bundle
from bitexport.errors import BundleError, TextError
from bitexport.runtime import Answer, Chosen, End, Ended, HostModel, HostSession, Prefill, Sampler
from bitexport.runtime import library as c
from bitexport_ref.sampler import Sampler as ReferenceSampler
from bitexport_ref.sampler import drafted, kept_by_shift

OK, ARGUMENT, FORMAT, UNSUPPORTED, ARENA, FULL, TOKEN = 0, -1, -5, -7, -8, -9, -10
END = 3
SLACK = 256  # the session's own record: its size is the compiler's affair
WARM = Sampler(temperature=1.5, seed=7)
SAMPLERS = {
    "greedy": Sampler(),
    "warm": WARM,
    "everything": Sampler(
        temperature=1.25, top_k=30, top_p=0.875, min_p=0.03125, repetition=1.125, presence=0.125,
        frequency=0.0625, window=20, seed=1 << 63,
    ),
}  # fmt: skip


def raw(session: HostSession) -> tuple[ctypes.CDLL, ctypes.c_void_p]:
    """Return the library and the generator of a session."""
    return session._library, session._generator


def as_reference(sampler: Sampler) -> ReferenceSampler:
    """Return the same settings for the reference."""
    fields: dict[str, Any] = {f.name: getattr(sampler, f.name) for f in dataclasses.fields(sampler)}
    return ReferenceSampler(**fields)


def begun(model: HostModel, text: str = PROMPT, **settings: int) -> HostSession:
    """Return a session that was given a text."""
    session = model.session(**settings)
    session.give(model.encode(text))
    return session


def ended(events: Sequence[object]) -> Ended:
    """Return the end of an answer, which is its last event and its only end."""
    ends = [event for event in events if isinstance(event, Ended)]
    assert ends == [events[-1]]
    return ends[0]


# ---- What is chosen --------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_answer_is_the_references_whatever_the_draft_the_chunk_and_the_threads(
    name: str, tiny_model: HostModel, tiny_reference: Reference
) -> None:
    given = tiny_model.encode(PROMPT)
    expected = tiny_reference.answer(given, as_reference(SAMPLERS[name]), 40)
    for draft, chunk, threads in ((0, 16, 1), (0, 1, 2), (1, 16, 1), (4, 3, 2), (8, 16, 1)):
        session = begun(tiny_model, draft=draft, chunk=chunk, threads=threads)
        asked = Answer(most_tokens=40, draft=draft, continues=True)
        events = list(session.answer(SAMPLERS[name], asked))
        assert session.tokens == expected[0]
        assert "".join(event.text for event in events) == expected[1]
        assert ended(events).why.name.lower() == expected[2].why


def test_an_answer_with_a_cache_of_int8_is_the_references(
    coded_model: HostModel, coded_bundle: Bundle
) -> None:
    given = coded_model.encode(PROMPT)
    expected, _, _ = read(coded_bundle).answer(given, as_reference(WARM), 40)
    for draft, chunk, threads in ((0, 16, 1), (4, 3, 2)):
        session = begun(coded_model, draft=draft, chunk=chunk, threads=threads)
        list(session.answer(WARM, Answer(most_tokens=40, draft=draft, continues=True)))
        assert session.tokens == expected


@pytest.mark.parametrize("cache", ["tiny", "coded"])
def test_a_session_takes_what_the_manifest_says(cache: str, request: pytest.FixtureRequest) -> None:
    model: HostModel = request.getfixturevalue(f"{cache}_model")
    config, asked = model.library.bitx_config_default(), ctypes.c_size_t()
    for rows in (1, 16):
        config.chunk_rows = rows
        status = model.library.bitx_session_size(
            ctypes.byref(asked), ctypes.byref(model.model), ctypes.byref(config)
        )
        assert status == OK
        promised = manifest_of(model)["memory"][f"arena_bytes_{rows}_rows"]
        assert promised - SLACK < asked.value <= promised


def test_a_draft_takes_fewer_steps(tiny_model: HostModel) -> None:
    period = 9

    def repeats(history: Sequence[int]) -> NDArray[np.bool_]:
        return np.arange(tiny_model.vocabulary) == history[-period]

    steps = []
    for draft in (0, 2, 8):
        session = tiny_model.session(draft=draft)
        session.give([*range(3, 3 + period), 3, 4])
        answer = Answer(most_tokens=27, draft=draft, ignore_ends=True)
        events = session.answer(Sampler(mask=repeats), answer)
        positions = {position_of(session) for event in events if isinstance(event, Chosen)}
        steps.append(len(positions))
        assert session.tokens == [3 + i % period for i in range(period + 2 + 27)]
    assert steps == [27, 10, 4]


def position_of(session: HostSession) -> int:
    """Return how many tokens the session has computed."""
    return int(session._library.bitx_session_position(session._session))


def test_a_mask_is_asked_with_every_token_and_obeyed(tiny_model: HostModel) -> None:
    asked = []

    def only_even(history: Sequence[int]) -> NDArray[np.bool_]:
        asked.append(list(history))
        return np.arange(tiny_model.vocabulary) % 2 == 0

    session = begun(tiny_model)
    given = session.tokens
    list(session.answer(dataclasses.replace(WARM, mask=only_even), Answer(most_tokens=9)))
    chosen = session.tokens[len(given) :]
    assert all(token % 2 == 0 for token in chosen)
    assert asked == [session.tokens[: len(given) + i] for i in range(len(asked))]


def test_what_a_mask_raises_reaches_the_caller_and_the_session_lives(
    tiny_model: HostModel,
) -> None:
    def broken(_: Sequence[int]) -> NDArray[np.bool_]:
        raise KeyError("grammar")

    session = begun(tiny_model)
    with pytest.raises(KeyError, match="grammar"):
        list(session.answer(Sampler(mask=broken)))
    for wrong in (np.zeros(3, bool), np.zeros(tiny_model.vocabulary + 32, bool)):
        with pytest.raises(TextError, match=f"a mask says of {wrong.size} tokens"):
            list(session.answer(Sampler(mask=lambda _, mask=wrong: mask)))  # type: ignore[misc]
    assert ended(list(session.answer(Sampler(), Answer(most_tokens=1)))).why == End.LENGTH


# ---- How it ends -----------------------------------------------------------------------------


def fresh_end(model: HostModel) -> tuple[int, int]:
    """Return a token that a greedy answer chooses for the first time, and its place."""
    session = begun(model)
    before = session.tokens
    list(session.answer(Sampler(), Answer(most_tokens=12, ignore_ends=True)))
    chosen = session.tokens[len(before) :]
    place = max(i for i, token in enumerate(chosen) if token not in chosen[:i])
    return chosen[place], place


def test_a_stop_token_ends_an_answer_and_is_not_kept(tiny_model: HostModel) -> None:
    token, place = fresh_end(tiny_model)
    for draft in (0, 8):
        session = begun(tiny_model, draft=draft)
        before = session.tokens
        answer = Answer(stop_tokens=[token], ignore_ends=True, draft=draft)
        events = list(session.answer(Sampler(), answer))
        end = ended(events)
        assert (end.why, end.token) == (End.STOP, token)
        assert len(session.tokens) == len(before) + place
        assert token not in session.tokens[len(before) :]
        assert position_of(session) == len(session.tokens)


def test_an_end_of_sequence_ends_an_answer_unless_it_is_ignored(tiny_model: HostModel) -> None:
    (eos,) = manifest_of(tiny_model)["model"]["eos"]
    always = Sampler(bias={eos: 1000.0})
    session = begun(tiny_model)
    before = session.tokens
    events = list(session.answer(always, Answer(most_tokens=3)))
    assert [type(event) for event in events] == [Prefill, Ended]
    assert (ended(events).why, session.tokens) == (End.STOP, before)
    session = begun(tiny_model)
    end = ended(list(session.answer(always, Answer(most_tokens=3, ignore_ends=True))))
    assert (end.why, session.tokens) == (End.LENGTH, [*before, *[eos] * 3])


def test_a_stop_string_ends_an_answer_and_the_text_before_it_is_all(tiny_model: HostModel) -> None:
    session = begun(tiny_model)
    whole = "".join(event.text for event in session.answer(Sampler(), Answer(most_tokens=8)))
    stop = whole[len(whole) // 2 : len(whole) // 2 + 3]
    for draft in (0, 8):
        session = begun(tiny_model, draft=draft)
        events = list(
            session.answer(Sampler(), Answer(most_tokens=8, stop=["no such", stop], draft=draft))
        )
        assert ended(events).why == End.STOP
        assert "".join(event.text for event in events) == whole[: whole.index(stop)]


def test_a_full_context_ends_an_answer(tiny_model: HostModel) -> None:
    for draft in (0, 8):
        session = begun(tiny_model, context=20, draft=draft)
        events = list(session.answer(WARM, Answer(ignore_ends=True, draft=draft)))
        assert ended(events).why == End.FULL
        assert len(session.tokens) == 21  # the last one needs no place
        assert position_of(session) == 20
        with pytest.raises(TextError, match="1 tokens do not fit a context of 20 that holds 21"):
            session.give([3])


@pytest.mark.parametrize("keep", [0, 1, 4, 19, 20, 21, 5000])
def test_a_full_context_is_shifted_as_if_the_kept_tokens_had_been_all(
    keep: int, tiny_model: HostModel
) -> None:
    check_shift(tiny_model, keep)


def test_a_cache_of_int8_is_shifted_as_well(coded_model: HostModel) -> None:
    check_shift(coded_model, 4)


def check_shift(tiny_model: HostModel, keep: int) -> None:
    """Compare a session that shifts with sessions that begin with what is kept."""
    session = begun(tiny_model, context=20)
    answer = Answer(ignore_ends=True, keep=keep, most_tokens=30)
    events = list(session.answer(WARM, answer))
    if keep >= 21:
        assert ended(events).why == End.FULL
        return
    assert ended(events).why == End.LENGTH
    chosen = [event.token for event in events if isinstance(event, Chosen)]
    # Again, each part by a session that begins with the kept tokens.
    tokens, again = tiny_model.encode(PROMPT), list[int]()
    while len(again) < 30:
        part = tiny_model.session(context=20)
        part.give(tokens)
        before = len(tokens)
        list(part.answer(WARM, Answer(ignore_ends=True, most_tokens=30 - len(again))))
        again += part.tokens[before:]
        tokens = kept_by_shift(part.tokens, keep)
    assert chosen == again
    assert session.tokens[: min(keep, 20)] == (tiny_model.encode(PROMPT) + chosen)[: min(keep, 20)]


def test_a_mask_or_biases_that_leave_no_token_end_an_answer_with_an_error(
    tiny_model: HostModel,
) -> None:
    nothing = dict.fromkeys(range(tiny_model.vocabulary), float("-inf"))
    for draft in (0, 4):
        session = begun(tiny_model, draft=draft)
        before = session.tokens
        events = list(session.answer(Sampler(bias=nothing), Answer(draft=draft)))
        end = ended(events)
        assert (end.why, end.status) == (End.ERROR, "no token is left")
        assert session.tokens == before
        events = list(session.answer(Sampler(bias={9999: 1.0})))
        assert ended(events).status == "token outside the vocabulary"
        twin = begun(tiny_model)
        answer = Answer(most_tokens=5)
        chosen = [
            event.token for event in session.answer(WARM, answer) if isinstance(event, Chosen)
        ]
        list(twin.answer(WARM, answer))
        assert [*before, *chosen] == twin.tokens  # as if nothing had happened


def test_cancel_ends_an_answer_within_one_token(tiny_model: HostModel) -> None:
    for after in (0, 1, 5):
        session = begun(tiny_model, chunk=1)
        before = len(session.tokens)
        events = []
        for event in session.answer(WARM, Answer(ignore_ends=True)):
            events.append(event)
            if len(events) == after:
                session.cancel()
                assert not isinstance(event, Ended)
            if after == 0 and len(events) == 1:
                thread = threading.Thread(target=session.cancel)
                thread.start()
                thread.join()
        assert ended(events).why == End.CANCELLED
        assert len(events) == max(after, 1) + 1
        assert len(session.tokens) == before
        # What was given is still to be read, and is.
        assert ended(list(session.answer(WARM, Answer(most_tokens=2)))).why == End.LENGTH


def test_cancel_comes_from_another_thread_while_tokens_are_made(tiny_model: HostModel) -> None:
    session = begun(tiny_model, context=64)
    started = threading.Event()

    def cancel() -> None:
        started.wait()
        session.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    events = []
    for event in session.answer(WARM, Answer(ignore_ends=True, keep=4)):
        events.append(event)
        if len(events) == 10:
            started.set()
        assert len(events) < 1_000_000, "it was not heard"
    thread.join()
    assert ended(events).why == End.CANCELLED


def test_a_dropped_answer_is_cancelled_even_before_its_first_event(tiny_model: HostModel) -> None:
    session = begun(tiny_model)
    answer = session.answer(WARM)
    del answer
    answer = session.answer(WARM)
    next(answer)
    del answer
    assert ended(list(session.answer(WARM, Answer(most_tokens=3)))).why == End.LENGTH


# ---- Between answers -------------------------------------------------------------------------


def test_after_the_end_and_before_a_start_there_are_no_events(tiny_model: HostModel) -> None:
    session = begun(tiny_model)
    loaded, generator = raw(session)
    event = c.Event()
    assert loaded.bitx_generator_next(generator, ctypes.byref(event)) == ARGUMENT
    list(session.answer(WARM, Answer(most_tokens=3)))
    assert loaded.bitx_generator_next(generator, ctypes.byref(event)) == ARGUMENT


def test_an_answer_under_way_is_not_disturbed(tiny_model: HostModel) -> None:
    session = begun(tiny_model)
    loaded, generator = raw(session)
    other = tiny_model.session()
    saved = other.save()
    events = session.answer(WARM, Answer(most_tokens=4))
    seen = [next(events), next(events)]
    room = np.empty(1 << 16, np.uint8)
    token = np.array([3], np.int32)
    asked = c.Answer()
    loaded.bitx_answer_default(ctypes.byref(asked), ctypes.byref(tiny_model.model))
    assert loaded.bitx_generator_give(generator, token.ctypes.data, 1) == ARGUMENT
    assert loaded.bitx_generator_shift(generator, 0) == ARGUMENT
    assert loaded.bitx_generator_start(generator, ctypes.byref(asked)) == ARGUMENT
    assert loaded.bitx_generator_save(generator, room.ctypes.data, room.size) == ARGUMENT
    assert loaded.bitx_generator_restore(generator, saved, len(saved)) == ARGUMENT
    assert loaded.bitx_generator_fork(raw(other)[1], generator) == ARGUMENT
    assert loaded.bitx_generator_fork(generator, raw(other)[1]) == ARGUMENT
    seen += events
    twin = begun(tiny_model)
    assert seen == list(twin.answer(WARM, Answer(most_tokens=4)))


def test_answers_that_cannot_begin_are_refused(tiny_model: HostModel) -> None:
    session = tiny_model.session(draft=4)
    with pytest.raises(TextError, match="cannot begin: bad argument"):
        session.answer(WARM)  # nothing was given
    session.give([3])
    for answer, says in (
        (Answer(draft=5), "cannot begin: bad argument"),
        (Answer(stop_tokens=[1] * 9), "cannot begin: bad argument"),
        (Answer(draft=9), "draft 9 is not allowed"), (Answer(draft=-1), "draft -1 is not allowed"),
        (Answer(most_tokens=0), "most_tokens 0 is not allowed"),
        (Answer(most_tokens=1 << 32), "most_tokens 4294967296 is not allowed"),
        (Answer(keep=1 << 32), "keep 4294967296 is not allowed"),
        (Answer(keep=-1), "keep -1 is not allowed"),
        (Answer(stop=[""]), "'' is no stop string"),
        (Answer(stop=["x" * 129]), "is no stop string"),
        (Answer(stop=["\udcff"]), "is no stop string"),
    ):  # fmt: skip
        with pytest.raises(TextError, match=says):
            session.answer(WARM, answer)
    for sampler in (
        Sampler(temperature=float("nan")), Sampler(top_k=0), Sampler(top_k=1 << 32),
        Sampler(seed=-1), Sampler(window=1 << 32), Sampler(top_p=0.0),
    ):  # fmt: skip
        with pytest.raises(TextError):
            session.answer(sampler)
    assert ended(list(session.answer(WARM, Answer(most_tokens=1)))).why == End.LENGTH


def test_tokens_that_cannot_be_given_are_refused_and_none_is_taken(tiny_model: HostModel) -> None:
    session = tiny_model.session(context=8)
    for tokens, says in (
        ([], "an empty text"), ([3, 96], "outside the vocabulary"), ([3, -1], "outside"),
        ([3] * 9, "9 tokens do not fit a context of 8 that holds 0"),
    ):  # fmt: skip
        with pytest.raises(TextError, match=says):
            session.give(tokens)
    assert session.tokens == []


def test_progress_is_told_chunk_by_chunk(tiny_model: HostModel) -> None:
    session = begun(tiny_model, " ".join(["Once"] * 20), chunk=8)
    events = list(session.answer(WARM, Answer(most_tokens=1)))
    assert [event[:2] for event in events if isinstance(event, Prefill)] == [
        (8, 20), (16, 20), (20, 20),
    ]  # fmt: skip


def test_a_reset_session_begins_again(tiny_model: HostModel) -> None:
    session = begun(tiny_model)
    first = list(session.answer(WARM, Answer(most_tokens=9)))
    session.reset()
    assert session.tokens == []
    session.give(tiny_model.encode(PROMPT))
    assert list(session.answer(WARM, Answer(most_tokens=9))) == first


def test_a_byte_of_memory_less_is_refused(tiny_model: HostModel) -> None:
    session = tiny_model.session()
    loaded, _ = raw(session)
    size = ctypes.c_size_t()
    model = ctypes.byref(tiny_model.model)
    assert loaded.bitx_generator_size(ctypes.byref(size), model, 20) == OK
    smaller = size.value
    assert loaded.bitx_generator_size(ctypes.byref(size), model, 0) == OK
    assert loaded.bitx_generator_size(ctypes.byref(size), model, 64) == OK
    assert smaller < size.value
    assert loaded.bitx_generator_size(ctypes.byref(size), model, 65) == ARGUMENT
    loaded.bitx_generator_size(ctypes.byref(size), model, 64)
    memory = np.zeros(size.value + 64, np.uint8)
    at = memory.ctypes.data + -memory.ctypes.data % 64
    place = ctypes.c_void_p()

    def opened(at: int, count: int) -> int:
        return int(loaded.bitx_generator_open(ctypes.byref(place), session._session, at, count))

    assert opened(at, size.value - 1) == ARENA
    assert not place.value
    assert opened(at + 4, size.value) == ARGUMENT
    assert opened(at, size.value) == OK


# ---- Fork, save, restore ---------------------------------------------------------------------


def middles(model: HostModel) -> list[Callable[[], HostSession]]:
    """Return sessions in every state between answers: nothing, given, all read, one pending."""
    (eos,) = manifest_of(model)["model"]["eos"]

    def at_length() -> HostSession:
        session = begun(model)
        list(session.answer(WARM, Answer(most_tokens=5, ignore_ends=True)))
        return session

    def at_stop() -> HostSession:
        session = begun(model)
        list(session.answer(Sampler(bias={eos: 1000.0})))
        return session

    def cancelled() -> HostSession:
        session = begun(model, chunk=3)
        next(session.answer(WARM))
        return session

    return [model.session, lambda: begun(model), at_length, at_stop, cancelled]


@pytest.mark.parametrize("cache", ["tiny", "coded"])
def test_copies_continue_as_the_original_does(cache: str, request: pytest.FixtureRequest) -> None:
    model: HostModel = request.getfixturevalue(f"{cache}_model")
    for make in middles(model):
        session = make()
        fork, restored = session.fork(), model.session(chunk=5, threads=2, context=40)
        restored.give([5, 6])
        restored.restore(session.save())
        assert session.save() == fork.save() == restored.save()
        answers = []
        for each in (session, fork, restored):
            each.give([7])
            events = each.answer(WARM, Answer(most_tokens=6, ignore_ends=True))
            answers.append([event for event in events if not isinstance(event, Prefill)])
            answers.append(each.tokens)
            answers.append(each.save())
        assert answers[:3] == answers[3:6] == answers[6:]


def test_every_byte_of_a_saved_session_is_checked_and_a_refusal_changes_nothing(
    tiny_model: HostModel,
) -> None:
    session = begun(tiny_model)
    list(session.answer(WARM, Answer(most_tokens=3, ignore_ends=True)))
    sound = session.save()
    other = begun(tiny_model, "Once Once")
    list(other.answer(WARM, Answer(most_tokens=4, ignore_ends=True)))
    before = other.save()
    for at in [*range(128), *range(128, len(sound), 37), len(sound) - 1]:
        broken = bytearray(sound)
        broken[at] ^= 1 << at % 8
        with pytest.raises(BundleError, match="cannot be restored"):
            other.restore(bytes(broken))
    for broken in (b"", sound[:63], sound[:95], sound[:-1], sound + b"\0", sound[1:]):
        with pytest.raises(BundleError, match="cannot be restored"):
            other.restore(bytes(broken))
    assert other.save() == before
    other.restore(sound)
    assert other.save() == sound


def test_without_a_sound_section_of_the_arithmetic_nothing_is_saved_or_restored(
    tiny_model: HostModel,
) -> None:
    session = begun(tiny_model)
    loaded, generator = raw(session)
    saved, room = session.save(), np.empty(1 << 16, np.uint8)
    section = tiny_model.model.arithmetic
    newer = ctypes.create_string_buffer(struct.pack("<I32x", 2))
    before = section.records, section.bytes
    for records, size, status in (
        (None, 0, ARGUMENT), (before[0], 35, FORMAT), (before[0], 37, FORMAT),
        (ctypes.addressof(newer), 36, UNSUPPORTED),
    ):  # fmt: skip
        section.records, section.bytes = records, size
        try:
            assert loaded.bitx_generator_save_size(generator) == 0
            assert loaded.bitx_generator_save(generator, room.ctypes.data, room.size) == status
            assert loaded.bitx_generator_restore(generator, saved, len(saved)) == status
        finally:
            section.records, section.bytes = before
    assert session.save() == saved


def test_a_saved_session_has_the_codes_and_their_scales(
    tiny_model: HostModel, coded_model: HostModel
) -> None:
    model, session = manifest_of(coded_model)["model"], begun(coded_model)
    list(session.answer(WARM, Answer(most_tokens=2, ignore_ends=True)))
    codes = session.save()
    heads, size, layers = (model[key] for key in ("kv_heads", "head_size", "layers"))
    positions = int.from_bytes(codes[48:52], "little")
    assert int.from_bytes(codes[12:16], "little") == 4 * layers
    assert positions == position_of(session) > 0

    def aligned(size: int) -> int:
        return -(-size // 64) * 64

    tokens = aligned(64 + 4 * (positions + int.from_bytes(codes[52:56], "little")))
    states = aligned(positions * heads * size) + aligned(4 * positions * heads)
    assert len(codes) == tokens + 2 * layers * states + 32
    with pytest.raises(BundleError, match="cannot be restored"):
        tiny_model.session().restore(codes)


def of_tokens(empty: bytes, tokens: Sequence[int]) -> bytes:
    """Return an empty saved session with tokens that are still to be read."""
    body = empty[:52] + struct.pack("<IQ", len(tokens), 0)
    body += struct.pack(f"<{len(tokens)}I", *tokens)
    body += bytes(-len(body) % 64)
    body = body[:56] + struct.pack("<Q", len(body) + 32) + body[64:]
    return body + hashlib.sha256(body).digest()


def test_a_saved_session_has_one_token_more_than_the_context_and_no_two(
    tiny_model: HostModel,
) -> None:
    session = tiny_model.session(context=20)
    empty, last = session.save(), tiny_model.vocabulary - 1
    session.restore(of_tokens(empty, [last] * 21))
    assert session.tokens == [last] * 21
    for tokens, says in (
        ([last] * 22, "more tokens than the context has room for"),
        ([last, last + 1], "it is damaged"),
        ([last, 0xFFFFFFFF], "it is damaged"),
    ):
        with pytest.raises(BundleError, match=says):
            session.restore(of_tokens(empty, tokens))
        assert session.tokens == [last] * 21
    list(session.answer(WARM))  # the last one is read when there is a place for it, and never is
    assert session.tokens == [last] * 21


def test_a_session_restored_where_the_context_is_too_small_is_refused(
    tiny_model: HostModel,
) -> None:
    session = begun(tiny_model)
    list(session.answer(WARM, Answer(most_tokens=20, ignore_ends=True)))
    small = tiny_model.session(context=20)
    with pytest.raises(BundleError, match="more tokens than the context has room for"):
        small.restore(session.save())
    loaded, generator = raw(small)
    assert loaded.bitx_generator_fork(generator, raw(session)[1]) == FULL


def test_prompt_lookup_drafts_what_the_reference_says(tiny_model: HostModel) -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        history = rng.integers(3, 6, int(rng.integers(1, 20))).tolist()
        follows = drafted([*history, 3], 8)
        session = tiny_model.session(draft=8)
        session.give(history)
        forced = iter([3, *follows])

        def force(_: Sequence[int], forced: Iterator[int] = forced) -> NDArray[np.bool_]:
            token = next(forced, None)
            return np.arange(tiny_model.vocabulary) == (0 if token is None else token)

        events = session.answer(Sampler(mask=force), Answer(most_tokens=30, draft=8))
        seen = [position_of(session) for event in events if isinstance(event, Chosen)]
        # The first token comes of the prompt alone; the step behind it computes the whole draft.
        assert seen[1] == len(history) + 1 + len(follows)
