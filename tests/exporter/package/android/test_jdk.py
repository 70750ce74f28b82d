"""The Java API and the library of x86_64 say in a JDK what the reference says, and end well."""

from __future__ import annotations

import json
from pathlib import Path

from tests.exporter.package.android.conftest import Jdk
from tests.generate.conftest import Reference

from bitexport.emit.manifest import Bundle
from bitexport_ref.bitx import open_bitx
from bitexport_ref.generator import End, Generator
from bitexport_ref.sampler import Sampler
from bitexport_ref.text.chat import Message, Role
from bitexport_ref.text.stream import TextStream
from bitexport_ref.text.tokenizer import Tokenizer

PROMPT = "Once upon a time"
MIB = 1 << 20
GREEDY = Sampler()
SAMPLED = Sampler(
    temperature=0.875, top_k=40, top_p=0.9375, min_p=0.015625, repetition=1.125, presence=0.125,
    frequency=0.0625, window=32, seed=(5 << 32) + 7,
)  # fmt: skip


def tokens_of(line: str) -> list[int]:
    tokens: list[int] = json.loads(line)
    return tokens


def test_a_story_has_the_tokens_and_the_text_of_the_reference(
    jdk: Jdk, reference: Reference, tmp_path: Path
) -> None:
    given = reference.encode(PROMPT)
    tokens, text, ended = reference.answer(given, GREEDY, 40)
    facts, prompt, why, chosen, said, every = jdk.run("story", tmp_path)
    assert facts == f"bitexport/stories-ternary-3m {reference.vocabulary} {reference.context}"
    assert tokens_of(prompt) == given
    assert (why, ended.why) == ("LENGTH", End.LENGTH)
    assert tokens_of(every) == tokens
    assert tokens_of(chosen) == tokens[len(given) :]
    assert said == text.replace("\n", "\\n")


def test_a_descriptor_may_be_closed_once_the_model_is_open(
    jdk: Jdk, reference: Reference, tmp_path: Path
) -> None:
    tokens, _, _ = reference.answer(reference.encode(PROMPT), GREEDY, 40)
    assert tokens_of(jdk.run("descriptor", tmp_path)[-1]) == tokens


def test_every_number_of_the_sampler_arrives(
    jdk: Jdk, reference: Reference, tmp_path: Path
) -> None:
    tokens, _, _ = reference.answer(reference.encode(PROMPT), SAMPLED, 40)
    assert tokens != reference.answer(reference.encode(PROMPT), GREEDY, 40)[0]
    assert tokens_of(jdk.run("sampled", tmp_path)[0]) == tokens


def test_a_conversation_goes_on(jdk: Jdk, reference: Reference, tmp_path: Path) -> None:
    generator = Generator(reference.model, reference.vocabulary, reference.context)
    begin = [
        Message(Role.USER, "A dog."), Message(Role.ASSISTANT, "It ran."),
        Message(Role.USER, "Tom saw it."),
    ]  # fmt: skip
    texts = []
    for messages, after in (
        (begin, None),
        ([Message(Role.USER, "Then the sun came.")], Role.ASSISTANT),
    ):
        joined = reference.chat.join(messages, after=after, generate=True)
        bare = after is not None or not reference.chat.adds_prefix_tokens
        tokenizer = Tokenizer(reference.tables)
        generator.give(tokenizer.encode(joined.text, bare=bare, plain=joined.plain))
        stream = TextStream(reference.tables, stop=("\n", " and"))
        events = generator.answer(GREEDY, ends=reference.ends, most_tokens=12, stream=stream)
        texts.append("".join(event.text for event in events))
    first, second, tokens = jdk.run("chat", tmp_path)
    assert [first, second] == texts
    assert tokens_of(tokens) == generator.tokens


def test_a_saved_session_goes_on_and_a_damaged_one_changes_nothing(
    jdk: Jdk, reference: Reference, tmp_path: Path
) -> None:
    generator = Generator(reference.model, reference.vocabulary, reference.context)
    generator.give(reference.encode(PROMPT))
    assert list(generator.answer(GREEDY, most_tokens=20))
    generator.give(Tokenizer(reference.tables).encode(" The", bare=True))
    assert list(generator.answer(GREEDY, most_tokens=10))
    tokens, refused, after = jdk.run("saved", tmp_path)
    assert tokens_of(tokens) == generator.tokens
    assert refused == "-6"
    assert after == tokens


def test_every_answer_has_one_end(jdk: Jdk, tmp_path: Path) -> None:
    assert jdk.run("ends", tmp_path) == [
        "1 END LENGTH", "1 END STOP", "1 END FULL", "1 END LENGTH", "1 END STOP",
    ]  # fmt: skip


def test_an_answer_is_cancelled_before_its_next_token(
    jdk: Jdk, reference: Reference, tmp_path: Path
) -> None:
    end, more, two, text = jdk.run("cancel", tmp_path)
    assert (end, more) == ("1 END CANCELLED", "0")
    assert two == "an answer is under way: read it to its END event, or close it"
    assert text == reference.answer(reference.encode(PROMPT), GREEDY, 10)[1]


def test_models_and_sessions_are_closed_while_another_thread_decodes(
    jdk: Jdk, tmp_path: Path
) -> None:
    assert jdk.run("close", tmp_path) == ["50 rounds"]


def test_two_sessions_in_two_threads(jdk: Jdk, reference: Reference, tmp_path: Path) -> None:
    wanted = [reference.answer(reference.encode(p), GREEDY, 40)[0] for p in (PROMPT, "Tom")]
    assert [tokens_of(line) for line in jdk.run("threads", tmp_path)] == wanted


def test_who_closes_twice_or_goes_on_after_that_is_told(
    jdk: Jdk, reference: Reference, tmp_path: Path
) -> None:
    text = reference.answer(reference.encode(PROMPT), GREEDY, 10)[1]
    under_way = "an answer is under way: read it to its END event, or close it"
    assert jdk.run("hostile", tmp_path) == [
        text,  # the answer before it was cancelled too late
        "the screen is gone after PREFILL 5 of 5",
        f"1 [{under_way}]", text,
        "42 1",  # one of reading, 40 tokens, one end, each event once
        "END CANCELLED",
        *["the session is closed"] * 4,
        *[f"{jdk.model}: the model is closed"] * 4,
        "bitexport/stories-ternary-3m 512",
    ]  # fmt: skip


def test_what_is_wrong_is_named(jdk: Jdk, tmp_path: Path) -> None:
    wrong, model = tmp_path / "wrong", jdk.model
    assert jdk.run("refused", tmp_path) == [
        f"{wrong}: breaks rule 1 of the format, record 0: not a .bitx file",
        f"{wrong}: breaks rule 3 of the format, record 0: file of a wrong length",
        f"{wrong}: cannot be mapped, errno 22: it is empty, or not readable",
        f"{tmp_path}: cannot be mapped, errno 22: it is no file",
        f"{tmp_path / 'nobody'}: cannot be mapped, errno 2: there is no such file",
        "descriptor -1: cannot be mapped, errno 9",
        "a path with a zero byte: bad argument",
        f"{wrong}: breaks rule 24 of the format, record 6: file not as its hash",
        f"{model}: a session of 1073741824 tokens: bad argument",
        f"{model}: a session of 512 tokens: bad argument",
        f"{model}: a text of 48 characters: context full",
        f"{model}: 2 tokens: token outside the vocabulary",
        "topP is 2.0; it is above 0, at most 1",
        "a stop text has 1 to 128 bytes of UTF-8",
        "draft is 9; it is 0 to 8",
        "tokens",
        "options",
        "0",  # nothing was given
    ]


def test_a_thousand_models_leave_nothing_behind(jdk: Jdk, tmp_path: Path) -> None:
    grown, files, maps, threads = map(int, jdk.run("cycles", tmp_path))
    assert grown < 24 * MIB  # a session of each would be 400 MiB; what grows is the JDK's own
    assert (files, maps, threads) == (0, 0, 1)


def test_a_device_tests_itself(jdk: Jdk, tmp_path: Path) -> None:
    assert jdk.run("self-test", tmp_path) == ["passed: 25 positions are equal"] * 2


def test_a_device_that_computes_another_bit_names_the_op(
    jdk: Jdk, story: Bundle, tmp_path: Path
) -> None:
    name = "model.layers.2.mlp.up_proj"
    (tensor,) = [t for t in open_bitx(story.data).tensors if t.name == f"{name}.weight"]
    changed = bytearray(story.data.read_bytes())
    changed[tensor.offset + 5] ^= 1
    wrong = tmp_path / "changed.bitx"
    wrong.write_bytes(changed)
    said = jdk.run("self-test", tmp_path, str(wrong))
    assert said == [f"self-test computed other bits: first in {name}.sum"] * 2
