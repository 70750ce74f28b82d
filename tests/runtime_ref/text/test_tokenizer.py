"""The reference says of every vector, worked out by hand for the cores, what they are to say."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence

import pytest
from tests.text import cases
from tests.text.test_vectors import (
    ARGUMENT,
    ROLE,
    ROOM,
    TEXT,
    TOKEN,
    Vector,
    vectors_of_bytes,
    vectors_of_characters,
    vectors_of_conversations,
    vectors_of_normal_forms,
    vectors_of_streams,
)

from bitexport_ref.errors import BadRole, BadText, TokenOutside
from bitexport_ref.text.chat import ChatTemplate, Message, Role, read_chat
from bitexport_ref.text.stream import TextStream
from bitexport_ref.text.tables import TokenizerTables, read_tables
from bitexport_ref.text.tokenizer import Tokenizer, well_formed

OF_MEMORY = re.compile(rf"(encode|stream 0|stream|text)( {ROOM}| {ARGUMENT})( |$)")
"""What a caller in C can do wrong with ranges, rooms and stop strings: not the reference's."""


class Replay:
    """Does what cases ask, as check_cases.c does."""

    tables: TokenizerTables
    vocabulary: int
    chat: ChatTemplate

    def say(self, case: bytes) -> str:
        """Return the line that is printed of a case."""
        operation, size = struct.unpack_from("<2I", case)
        payload = case[8 : 8 + size]
        return {
            cases.TOKENIZER: self._use, cases.ENCODE: self._encode, cases.STREAM: self._stream,
            cases.CHAT: self._template, cases.MESSAGES: self._join,
        }[operation](payload)  # fmt: skip

    def _use(self, payload: bytes) -> str:
        (self.vocabulary,) = struct.unpack_from("<I", payload)
        self.tables = read_tables(payload[4:], self.vocabulary)
        return "tokenizer 0"

    def _encode(self, payload: bytes) -> str:
        flags, ranges, _, _ = struct.unpack_from("<4I", payload)
        plain = list(struct.iter_unpack("<2I", payload[16 : 16 + 8 * ranges]))
        try:
            tokens = Tokenizer(self.tables).encode(
                payload[16 + 8 * ranges :], bare=bool(flags & cases.BARE),
                special=not flags & cases.PLAIN, plain=plain,  # type: ignore[arg-type]
            )  # fmt: skip
        except BadText as error:
            return f"encode {TEXT} {error.at}"
        return cases.encoded(tokens)

    def _stream(self, payload: bytes) -> str:
        flags, count, size = struct.unpack_from("<3I", payload)
        sizes = struct.unpack_from(f"<{count}I", payload, 12)
        tokens = struct.unpack_from(f"<{size}i", payload, 12 + 4 * count)
        stop = list(_cut(payload[12 + 4 * (count + size) :], sizes))
        stream = TextStream(
            self.tables, stop=stop, show_control=bool(flags & cases.SHOW_CONTROL),
            continues=bool(flags & cases.CONTINUES),
        )  # fmt: skip
        pieces = []
        for token in tokens:
            try:
                pieces.append(stream.push(token, vocabulary=self.vocabulary).encode())
            except TokenOutside:
                return " ".join(["stream 0", *(p.hex() or "-" for p in pieces), f"{TOKEN} ended -"])
            if stream.stopped:
                return cases.streamed(pieces, stopped=True)
        return cases.streamed(pieces, stream.finish().encode())

    def _template(self, payload: bytes) -> str:
        self.chat = read_chat(payload, self.vocabulary)
        return "chat 0"

    def _join(self, payload: bytes) -> str:
        after, generate, count = struct.unpack_from("<3I", payload)
        heads = list(struct.iter_unpack("<2I", payload[12 : 12 + 8 * count]))
        roles = [*Role, None]
        said: list[Message] = []
        contents = _cut_bytes(payload[12 + 8 * count :], [size for _, size in heads])
        for place, ((role, _), content) in enumerate(zip(heads, contents, strict=True)):
            try:
                said.append(Message(list(Role)[role], well_formed(content)))
            except BadText:
                return f"text {TEXT} {place}"
        for place in range(len(said) + 1):  # the first row of roles without form
            try:
                last = place == len(said)
                joined = self.chat.join(
                    said[: place + (not last)], generate=bool(generate), after=roles[after]
                )
            except BadRole as error:
                wrong = error.args[0].split("`")[1]
                if last or wrong not in ("generate", "stop"):
                    return f"text {ROLE} {place}"
        if not joined.text:
            return "text 0 0"
        return cases.joined(joined.text.encode(), joined.plain)


def _cut_bytes(held: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield held[at : at + size]
        at += size


def _cut(held: bytes, sizes: Sequence[int]) -> Iterator[str]:
    return (piece.decode() for piece in _cut_bytes(held, sizes))


@pytest.mark.parametrize(
    "vectors",
    [
        vectors_of_bytes, vectors_of_characters, vectors_of_normal_forms, vectors_of_streams,
        vectors_of_conversations,
    ],
)  # fmt: skip
def test_the_reference_does_what_the_specification_says(
    vectors: Callable[[], list[Vector]],
) -> None:
    replay, done = Replay(), 0
    for case, expected in vectors():
        if not OF_MEMORY.match(expected):
            assert replay.say(case) == expected
            done += 1
    assert done > 10


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (b"ab\xff", 2), (b"\xc3", 0), (b"a\xe2\x82", 1), (b"\xc0\x80", 0), (b"\xed\xa0\x80", 0),
        (b"a\xf4\x90\x80\x80", 1), ("a\udc80", 1), ("\u00e9\ud800", 2),
    ],
)  # fmt: skip
def test_text_that_is_no_utf_8_is_refused_where_it_begins(text: str | bytes, at: int) -> None:
    with pytest.raises(BadText) as caught:
        well_formed(text)
    assert (caught.value.at, f"byte {at} of the text" in str(caught.value)) == (at, True)
