"""On random text and tokens, the C functions and the reference return the same."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.text import cases
from tests.text.conftest import replay_on_host
from tests.text.tiny_tables import (
    FUSE,
    LOWER_BLOCK,
    UNLESS,
    WHOLE,
    Tables,
    byte_tables,
    character_tables,
    normal_tables,
)

from bitexport.toolchain.compile import Library
from bitexport_ref.text.stream import TextStream
from bitexport_ref.text.tables import read_tables
from bitexport_ref.text.tokenizer import Tokenizer

TEXTS = 600
ALPHABET = [
    *"abcdhi \n\u2581qxyz015", "\u00e9", "\u00c5", "\u4e2d", "\u3000", "\u0300", "\u0323", "\u030a",
    "\u0345", "\u212b", "\u1e69", "\u0344", "\u1100", "\u1161", "\u11a8", "\uac00", "\uac01",
    "\u09c7", "\u09be", "\U0001d15e", "\U0001f600", "<s>", "<x>", "<xy>", "<r>", "<n>", "<s>b", "<",
]  # fmt: skip
STOPS = ["ab", "b", "cd", "\ufffd", "\ufffda", "hi", " h", "aab", "\u20ac"]


def normal_with_everything() -> Tables:
    """Return tables that normalize, put spaces before and cut."""
    tables = byte_tables()
    normal = normal_tables()
    return dataclasses.replace(
        tables, flags=normal.flags | LOWER_BLOCK | UNLESS | WHOLE, prefix=1, added_normalized=[],
        decompositions=normal.decompositions, compositions=normal.compositions,
        combining=normal.combining,
    )  # fmt: skip


MAKERS: dict[str, Callable[[], Tables]] = {
    "bytes": byte_tables,
    "whole pieces": lambda: dataclasses.replace(byte_tables(), flags=WHOLE),
    "characters": character_tables,
    "unfused": lambda: dataclasses.replace(character_tables(), flags=LOWER_BLOCK | UNLESS),
    "ranks": lambda: dataclasses.replace(
        character_tables(), prefix=1, flags=LOWER_BLOCK | FUSE, ranks=[0] * 8 + [7, 7, 9, 3]
    ),
    "normal": normal_with_everything,
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_c_and_reference_agree(
    name: str, libraries: Callable[..., Library], tmp_path: Path
) -> None:
    made = MAKERS[name]()
    section, vocabulary = made.write(), len(made.tokens) + 1
    tables = read_tables(section, vocabulary)
    tokenizer, draw = Tokenizer(tables), random.Random(name)
    asked, expected = [cases.tokenizer(section, vocabulary)], ["tokenizer 0"]
    for _ in range(TEXTS):
        text = random_text(draw)
        flags, plain = draw.choice((0, 0, 1, 2, 3)), random_ranges(draw, len(text))
        tokens = tokenizer.encode(text, bare=bool(flags & 1), special=not flags & 2, plain=plain)
        asked.append(cases.encode(text, flags, plain))
        expected.append(cases.encoded(tokens))
        some = tokens[:40] if draw.random() < 0.5 else draw.choices(range(vocabulary), k=12)
        flags, stops = draw.randrange(4), draw.sample(STOPS, draw.randrange(3))
        asked.append(cases.stream(some, flags, [stop.encode() for stop in stops]))
        stream = TextStream(
            tables, stop=stops, show_control=bool(flags & 1), continues=bool(flags & 2)
        )
        expected.append(streamed(stream, some))
    assert replay_on_host(libraries, asked, tmp_path) == expected


def random_text(draw: random.Random) -> bytes:
    """Return a text; one in eight repeats a part of itself often."""
    parts = draw.choices(ALPHABET, k=draw.randrange(1, 24))
    return "".join(parts * draw.choice((1, 1, 1, 1, 1, 1, 1, 30))).encode()


def random_ranges(draw: random.Random, size: int) -> list[tuple[int, int]]:
    """Return some increasing ranges, or none."""
    ends = sorted(draw.randrange(size + 1) for _ in range(draw.choice((0, 2, 4))))
    return list(zip(ends[::2], ends[1::2], strict=True))


def streamed(stream: TextStream, tokens: list[int]) -> str:
    """Return what check_cases.c is to print."""
    pieces = []
    for token in tokens:
        pieces.append(stream.push(token).encode())
        if stream.stopped:
            return cases.streamed(pieces, stopped=True)
    return cases.streamed(pieces, stream.finish().encode())
