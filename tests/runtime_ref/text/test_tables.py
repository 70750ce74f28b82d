"""The reference refuses every table that R26 and R27 forbid, with the status that C returns."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.text.test_hostile import FORMAT, Fault, faults, words_of_template
from tests.text.tiny_tables import (
    AB,
    NONE,
    Tables,
    byte_tables,
    character_tables,
    chat_section,
    normal_tables,
)

from bitexport_ref.bitx import BitxError
from bitexport_ref.errors import BadRole
from bitexport_ref.text.chat import Message, Role, read_chat
from bitexport_ref.text.tables import Kind, read_tables, slot_of

STATUSES = {FORMAT: "BITX_E_FORMAT", -7: "BITX_E_UNSUPPORTED"}


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name.replace(" ", "_"))
def test_what_is_wrong_with_tables_is_refused(fault: Fault) -> None:
    with pytest.raises(BitxError) as caught:
        read_tables(fault.tables.write(), len(fault.tables.tokens) + fault.spare)
    assert (caught.value.rule, caught.value.bitx_status) == (26, STATUSES[fault.status])


@pytest.mark.parametrize("make", [byte_tables, character_tables, normal_tables])
def test_a_section_that_is_cut_or_goes_on_is_refused(make: Callable[[], Tables]) -> None:
    section, count = make().write(), len(make().tokens)
    for broken in (b"", section[:127], section[:-4], section + bytes(8)):
        with pytest.raises(BitxError):
            read_tables(broken, count)
    read_tables(section, count + 5)


def test_tables_are_read_as_they_were_written() -> None:
    made = byte_tables()
    tables = read_tables(made.write(), len(made.tokens))
    assert tables.kind == Kind.BYTES
    assert tables.tokens == tuple(made.tokens)
    assert tables.merges == {(a, b): (i, t) for i, (a, b, t) in enumerate(made.merges)}
    assert (tables.added, tables.added_normalized) == (
        tuple(made.added), tuple(made.added_normalized),
    )  # fmt: skip
    assert [tables.is_space(c) for c in " \u3000a0\U0001f600"] == [True, True, False, False, False]
    assert (tables.prefix_tokens, tables.suffix_tokens) == (
        tuple(made.prefix_tokens), tuple(made.suffix_tokens),
    )  # fmt: skip
    made.ranks = [7 * token for token in range(len(made.tokens))]
    made.merges.sort(key=lambda merge: (7 * merge[2], merge))
    ranked = read_tables(made.write(), len(made.tokens))
    assert ranked.merges[97, 98] == (7 * AB, AB)


def test_the_hash_of_a_pair_is_that_of_the_format() -> None:
    mixed = (97 * 0x9E3779B1 ^ 98 * 0x85EBCA77) & 0xFFFFFFFF
    assert slot_of(97, 98, 1 << 20) == (mixed ^ mixed >> 15) % (1 << 20)


# ---- Chat ------------------------------------------------------------------------------------

SEGMENTS = {
    (0, 1): b"<s>[", (0, 0): b"<s>{", (1, 1): b"}[", (2, 3): b"]", (2, 2): b"] ", (3, 1): b" | [",
    (3, 4): b".",
}  # fmt: skip


@pytest.mark.parametrize(
    "section",
    [
        b"", words_of_template(0, 2), words_of_template(1, 256), words_of_template(3, 1 << 31),
        words_of_template(4, 9), words_of_template(7, 1), words_of_template(48, 9999),
        words_of_template(49, 7), words_of_template(10, 1 << 31), words_of_template(11, NONE - 1),
        chat_section({(0, 1): b"\xff"}), chat_section({(0, 1): b"<s>"}) + b"x",
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_template_is_refused(section: bytes) -> None:
    with pytest.raises(BitxError) as caught:
        read_chat(section, 272)
    assert caught.value.rule == 27


def test_messages_are_joined_by_the_segments_and_their_ranges_are_told() -> None:
    chat = read_chat(chat_section(SEGMENTS, strip=(0, 0xFF, 0), stops=[5]), 272)
    assert (chat.stop_tokens, chat.adds_prefix_tokens) == ((5,), False)
    user, system, assistant = (
        Message(Role.USER, " \u3000\x1f\u00e9 "), Message(Role.SYSTEM, " s "),
        Message(Role.ASSISTANT, " a"),
    )  # fmt: skip
    joined = chat.join([system, user])
    assert joined.text == "<s>{ s }[\u00e9]"
    raw = joined.text.encode()
    assert [raw[a:b].decode() for a, b in joined.plain] == [" s ", "\u00e9"]
    whole = chat.join([user, assistant, user])
    begun, later = (
        chat.join([user, assistant], generate=False),
        chat.join([user], after=Role.ASSISTANT),
    )
    assert begun.text.removesuffix(".") + later.text == whole.text
    assert chat.join([Message(Role.USER, "  ")]).plain == ()


def test_what_came_before_says_which_ends_are_stripped() -> None:
    chat = read_chat(chat_section(SEGMENTS, strip=(0, 0x4B, 0)), 272)
    spaced, system, answer = (
        Message(role, " x ") for role in (Role.USER, Role.SYSTEM, Role.ASSISTANT)
    )
    assert "[x]" in chat.join([spaced]).text
    assert "[ x]" in chat.join([system, spaced]).text
    assert "[x ]" in chat.join([spaced, answer, spaced]).text


def test_a_row_of_roles_without_form_is_refused() -> None:
    chat = read_chat(chat_section(SEGMENTS), 272)
    user = Message(Role.USER, "x")
    for said, generate in (([user, user], True), ([user], False), ([], True)):
        with pytest.raises(BadRole, match="no form for"):
            chat.join(said, generate=generate)
