"""No table, template, text or token makes the text functions read or write what is not theirs."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.text import cases
from tests.text.conftest import HERE, ended
from tests.text.tiny_tables import (
    AA,
    BEGIN,
    CONTROL,
    ENDS,
    NONE,
    NORMALIZED,
    PATTERN,
    SPACE,
    TAIL,
    Tables,
    byte_tables,
    character_tables,
    chat_section,
    normal_tables,
)

FORMAT, UNSUPPORTED = -5, -7
CHANGES = 150
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
CORPUS = sorted(path for path in (HERE / "corpus").rglob("*") if path.is_file())

Build = Callable[[str], Path]


@dataclasses.dataclass(frozen=True)
class Fault:
    """One thing that is wrong with tables that are sound otherwise."""

    name: str
    tables: Tables
    status: int = FORMAT
    spare: int = 0


def changed(make: Callable[[], Tables], **fields: object) -> Tables:
    return dataclasses.replace(make(), **fields)  # type: ignore[arg-type]


def faults() -> list[Fault]:
    b, c, n = byte_tables, character_tables, normal_tables
    tokens = b().tokens
    many = len(tokens)
    stage = b().stages[0]
    return [
        Fault("kind is 3", changed(b, kind=3), UNSUPPORTED),
        Fault("flag of a later version", changed(b, flags=64), UNSUPPORTED),
        Fault("prefix rule is 3", changed(b, prefix=3), UNSUPPORTED),
        Fault("reserved word is set", changed(b, header={31: 1})),
        Fault("more tokens than the model has", b(), spare=-1),
        Fault("no tokens", changed(b, header={3: 0})),
        Fault("unknown token is none", changed(b, unknown=many)),
        Fault("characters in a table of bytes", changed(b, characters={"a": 97})),
        Fault("slots are no power of two", changed(b, header={7: 9})),
        Fault("slots as many as merges", changed(b, header={7: 4})),
        Fault("slots without merges", changed(b, merges=[], header={7: 2})),
        Fault("nine stages", changed(b, stages=[stage] * 9)),
        Fault("stages without classes", changed(b, classes=[])),
        Fault("classes without blocks", changed(b, header={14: 0})),
        Fault("nine prefix tokens", changed(b, prefix_tokens=[1] * 9)),
        Fault("nine suffix tokens", changed(b, suffix_tokens=[1] * 9)),
        Fault("some token ranks", changed(b, ranks=[0])),
        Fault("tables end too early", changed(b, header={11: 0})),
        Fault("tables go past the end", changed(b, header={18: 1 << 30})),
        Fault("token ends decrease", Backwards(**vars(b()))),
        Fault("token ends before the last byte", changed(b, header={3: many - 1})),
        Fault("byte token is none", changed(b, byte_tokens=[many] * 256)),
        Fault("character twice", Doubled(**vars(c()))),
        Fault("character is a surrogate", changed(c, characters={"\ud800": SPACE})),
        Fault("character's token is none", changed(c, characters={"a": 99})),
        Fault("merge of no token", changed(b, merges=[(97, many, AA)])),
        Fault("merge gives no token", changed(b, merges=[(97, 97, many)])),
        Fault("merge of the unknown token", changed(b, unknown=97)),
        Fault("pair is merged twice", changed(b, merges=[(97, 97, AA), (97, 97, AA)])),
        Fault("merge is in no slot", changed(b, merges=[*b().merges], header={7: 16})),
        Fault("ranks do not increase", changed(b, ranks=list(range(many, 0, -1)))),
        Fault("rank is none", changed(b, ranks=[NONE] * many)),
        Fault("added tokens out of order", changed(b, added=b().added[::-1])),
        Fault("added token twice", changed(b, added=[BEGIN, BEGIN])),
        Fault("added token is none", changed(b, added=[many])),
        Fault("added token is no text", changed(b, added=[0xFF])),
        Fault("added token is empty", changed(b, tokens=[b"", *tokens[1:]], added=[0])),
        Fault("normalized control token", changed(b, token_flags={NORMALIZED: CONTROL})),
        Fault("exceptions out of order", changed(b, exceptions=[98, 97])),
        Fault("prefix token is none", changed(b, prefix_tokens=[many])),
        Fault("suffix token is none", changed(b, suffix_tokens=[many])),
        Fault("token flag of a later version", changed(b, token_flags={5: 64}), UNSUPPORTED),
        Fault("kind of class of a later version", Odd(**vars(b())), UNSUPPORTED),
        Fault("stage of kind 3", changed(b, stages=[(3, *stage[1:])]), UNSUPPORTED),
        Fault("pattern of one state", changed(b, stages=[(PATTERN, 1, stage[2])])),
        Fault("pattern goes past the end", changed(b, stages=[(PATTERN, 7, stage[2])])),
        Fault("state does not exist", changed(b, stages=[(*stage[:2], [ENDS | 6] * 30)])),
        Fault("tail with states", changed(b, stages=[(TAIL, 1, [2])])),
        Fault("tail of a class that is none", changed(b, stages=[(TAIL, 0, [16])])),
        Fault("tail without set", changed(b, stages=[(TAIL, 0, [])])),
        Fault("decompositions out of order", changed(n, decompositions=[(200, 65, 0)] * 2)),
        Fault("ASCII decomposes", changed(n, decompositions=[(65, 0xC0, 0)])),
        Fault("decomposition to no character", changed(n, decompositions=[(200, 1 << 21, 0)])),
        Fault("compositions out of order", changed(n, compositions=[(65, 0x300, 0xC0)] * 2)),
        Fault("ASCII composes", changed(n, compositions=[(65, 66, 0xC0)])),
        Fault("combining classes overlap", changed(n, combining=[(768, 780, 1), (780, 790, 2)])),
        Fault("combining class of ASCII", changed(n, combining=[(65, 65, 1)])),
        Fault("combining class is 0", changed(n, combining=[(768, 780, 0)])),
        Fault("combining class is 255", changed(n, combining=[(768, 780, 255)])),
        Fault("combining classes end beyond Unicode", changed(n, combining=[(768, NONE, 1)])),
    ]


class Backwards(Tables):
    """Writes a token that ends before it starts."""

    def write(self) -> bytes:
        """Return the section."""
        section = bytearray(super().write())
        section[128:132] = (3).to_bytes(4, "little")
        return bytes(section)


class Doubled(Tables):
    """Writes the first character twice."""

    def write(self) -> bytes:
        """Return the section."""
        section = super().write()
        at = section.index(ord("h").to_bytes(4, "little"), 1024)
        return section[: at + 8] + section[at : at + 4] + section[at + 12 :]


class Odd(Tables):
    """Writes a kind of class that is none."""

    def _classes(self) -> tuple[list[int], bytes, bytes]:
        index, blocks, _ = super()._classes()
        return index, blocks, bytes([0, 1, 2, 0])


def asked_of_all() -> list[bytes]:
    """Return cases that go everywhere once."""
    text = "ab <s>\u00e9\u0323 12 <x>  <r> bcd\u212b\uac01hi" + "a" * 70
    return [
        cases.encode(text.encode()),
        cases.encode(text.encode(), cases.PLAIN | cases.BARE, [(1, 9)]),
        cases.stream([*range(300), *range(300)], 1, [b"abc", b"\xef\xbf\xbdx"]),
        cases.stream(list(range(12))),
    ]


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name.replace(" ", "_"))
def test_what_is_wrong_with_tables_is_told_and_does_no_harm(
    fault: Fault, sanitized: Build, tmp_path: Path
) -> None:
    section = fault.tables.write()
    use = cases.tokenizer(section, len(fault.tables.tokens) + fault.spare)
    first, *_ = replay_sanitized(sanitized, [use, *asked_of_all()], tmp_path)
    assert first == f"tokenizer {fault.status}"


@pytest.mark.parametrize("make", [byte_tables, character_tables, normal_tables])
def test_sound_tables_are_called_sound(
    make: Callable[[], Tables], sanitized: Build, tmp_path: Path
) -> None:
    use = cases.tokenizer(make().write(), len(make().tokens))
    first, *_ = replay_sanitized(sanitized, [use, *asked_of_all()], tmp_path)
    assert first == "tokenizer 0"


def words_of_template(at: int, number: int) -> bytes:
    section = bytearray(chat_section({(0, 1): b"<s>", (2, 3): "\u00e9".encode()}, stops=[7]))
    section[4 * at : 4 * at + 4] = number.to_bytes(4, "little")
    return bytes(section)


@pytest.mark.parametrize(
    "section",
    [
        b"", words_of_template(0, 2), words_of_template(1, 256), words_of_template(3, 1 << 31),
        words_of_template(4, 9), words_of_template(7, 1), words_of_template(48, 9999),
        words_of_template(49, 7), words_of_template(10, 1 << 31), words_of_template(11, NONE - 1),
        chat_section({(0, 1): b"\xff"}), chat_section({(0, 1): b"<s>"}) + b"x",
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_template_is_told(
    section: bytes, sanitized: Build, tmp_path: Path
) -> None:
    asked = [
        cases.tokenizer(byte_tables().write(), len(byte_tables().tokens)),
        cases.chat(section),
        cases.messages([(cases.USER, b"x")]),
    ]
    assert replay_sanitized(sanitized, asked, tmp_path)[1] == f"chat {FORMAT}"


def test_there_is_a_corpus() -> None:
    assert {path.parent.name for path in CORPUS} == {"encode", "stream"}


def test_nothing_in_the_corpus_or_near_it_does_harm(sanitized: Build) -> None:
    command = [sanitized("fuzz_cases"), str(CHANGES), *CORPUS]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == f"{len(CORPUS)} files\n"


def replay_sanitized(sanitized: Build, asked: list[bytes], folder: Path) -> list[str]:
    blob = folder / "cases.bin"
    blob.write_bytes(b"".join(asked))
    command = [sanitized("check_cases"), blob]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return ended(done.stdout)
