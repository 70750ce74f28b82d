"""TEXT.md, section 3, token by token: what is certain is handed out, and nothing else."""

from __future__ import annotations

import random

import pytest
from tests.text.tiny_tables import (
    _HI,
    BEGIN,
    EURO_HEAD,
    EURO_TAIL,
    HI,
    ODD,
    S,
    byte_tables,
    character_tables,
)

from bitexport_ref.errors import TokenOutside
from bitexport_ref.text.stream import TextStream, decode
from bitexport_ref.text.tables import TokenizerTables, read_tables

SPACE_TOKEN = 5


@pytest.fixture(scope="module")
def tables() -> TokenizerTables:
    """Return tables whose tokens 0 to 255 are bytes."""
    made = byte_tables()
    return read_tables(made.write(), len(made.tokens))


@pytest.fixture(scope="module")
def characters() -> TokenizerTables:
    """Return tables of the other kind, which drop the first space."""
    made = character_tables()
    return read_tables(made.write(), len(made.tokens))


def pieces(stream: TextStream, tokens: bytes | list[int]) -> list[str]:
    """Return what each token hands out, and what the end does."""
    return [*(stream.push(token) for token in tokens), stream.finish()]


def test_a_character_waits_for_its_last_byte(tables: TokenizerTables) -> None:
    assert pieces(TextStream(tables), "\u00e9a\U0001f600".encode()) == [
        "", "\u00e9", "a", "", "", "", "\U0001f600", "",
    ]  # fmt: skip
    assert pieces(TextStream(tables), [EURO_HEAD, EURO_TAIL]) == ["", "\u20ac", ""]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"a\xffb", ["a", "\ufffd", "b", ""]),
        (b"\xf0\x9fa", ["", "", "\ufffda", ""]),  # a maximal subpart is one
        (b"\xe0\x80\x80", ["", "\ufffd\ufffd", "\ufffd", ""]),  # an overlong form is none
        (b"\xed\xa0\x80", ["", "\ufffd\ufffd", "\ufffd", ""]),  # a surrogate is none
        (b"\xf4\x90\x80", ["", "\ufffd\ufffd", "\ufffd", ""]),  # beyond Unicode
        (b"\xc3\xc3\xa9", ["", "\ufffd", "\u00e9", ""]),
        (b"\xf0\x9f\x98", ["", "", "", "\ufffd"]),  # at the end: one
        (b"\xc3", ["", "\ufffd"]),
    ],
)
def test_ill_formed_bytes_become_replacements_as_soon_as_they_are_certain(
    given: bytes, expected: list[str], tables: TokenizerTables
) -> None:
    assert pieces(TextStream(tables), given) == expected


def test_any_bytes_give_what_a_decoder_gives_of_the_whole(tables: TokenizerTables) -> None:
    draw = random.Random(1)
    alphabet = [0x41, 0x80, 0xA0, 0xBF, 0xC2, 0xE0, 0xE2, 0xED, 0xF0, 0xF4, 0xFF, 0x9F, 0x90]
    for _ in range(4000):
        given = bytes(draw.choices(alphabet, k=draw.randrange(8)))
        assert decode(tables, given) == given.decode("utf-8", "replace")


def test_a_stop_string_across_tokens_ends_the_text_before_it(tables: TokenizerTables) -> None:
    stream = TextStream(tables, stop=["END"])
    assert [stream.push(token) for token in b"aEEN"] == ["a", "", "E", ""]
    assert not stream.stopped
    assert stream.push(ord("D")) == ""
    assert stream.stopped
    assert (stream.push(ord("x")), stream.finish()) == ("", "")


def test_what_was_held_for_a_stop_string_is_handed_out_when_it_does_not_come(
    tables: TokenizerTables,
) -> None:
    assert pieces(TextStream(tables, stop=["aab", "abc"]), b"aaax") == ["", "", "a", "aax", ""]
    assert pieces(TextStream(tables, stop=["abc"]), b"xab") == ["x", "", "", "ab"]
    assert pieces(TextStream(tables, stop=["\u00e9\u20ac"]), "\u00e9".encode()) == [
        "",
        "",
        "\u00e9",
    ]


def test_of_stop_strings_that_end_together_the_one_that_begins_first_counts(
    tables: TokenizerTables,
) -> None:
    for stop in (["bc", "abc"], ["abc", "bc"]):
        assert "".join(pieces(TextStream(tables, stop=stop), b"xabcz")) == "x"
    assert "".join(pieces(TextStream(tables, stop=["abcd", "b"]), b"xabcd")) == "xa"


def test_an_empty_stop_string_is_refused(tables: TokenizerTables) -> None:
    with pytest.raises(ValueError, match="empty"):
        TextStream(tables, stop=["a", ""])


def test_control_tokens_are_text_only_where_they_are_asked_for(tables: TokenizerTables) -> None:
    assert decode(tables, [97, S, 98]) == "ab"
    assert decode(tables, [97, S, 98], show_control=True) == "a<s>b"
    assert (
        decode(tables, [ODD, 9999], show_control=True) == ""
    )  # unused; and one of the model alone


def test_a_token_outside_the_vocabulary_is_refused(tables: TokenizerTables) -> None:
    stream = TextStream(tables)
    for token in (-1, 300):
        with pytest.raises(TokenOutside):
            stream.push(token, vocabulary=300)


def test_the_first_space_is_dropped_once_and_not_behind_another_text(
    characters: TokenizerTables,
) -> None:
    assert decode(characters, [_HI, _HI]) == "hi hi"
    assert decode(characters, [BEGIN, _HI]) == "hi"  # what stands for nothing is no beginning
    assert decode(characters, [HI, _HI]) == "hi hi"
    assert decode(characters, [SPACE_TOKEN, SPACE_TOKEN]) == " "
    assert pieces(TextStream(characters, continues=True), [_HI]) == [" hi", ""]
