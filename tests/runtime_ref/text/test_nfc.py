"""The reference's normal form C is Unicode's, by tables that this test takes from Python's own."""

from __future__ import annotations

import random
import unicodedata

import pytest
from tests.text.tiny_tables import normal_tables

from bitexport_ref.text.nfc import nfc
from bitexport_ref.text.tables import TokenizerTables, read_tables

POINTS = [point for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
HANGUL = range(0xAC00, 0xAC00 + 11172)


@pytest.fixture(scope="module")
def tables() -> TokenizerTables:
    """Return the tables of this Python's Unicode."""
    made = normal_tables()
    made.decompositions, made.compositions, made.combining = [], [], []
    for point in POINTS:
        character = chr(point)
        parts = unicodedata.decomposition(character)
        if parts and not parts.startswith("<") and point not in HANGUL:
            first, second = ([*(int(part, 16) for part in parts.split()), 0])[:2]
            made.decompositions.append((point, first, second))
            if second and unicodedata.normalize("NFC", character) == character:
                made.compositions.append((first, second, point))
        if unicodedata.combining(character):
            made.combining.append((point, point, unicodedata.combining(character)))
    made.compositions.sort()
    return read_tables(made.write(), len(made.tokens))


def test_every_character_alone_and_between_others(tables: TokenizerTables) -> None:
    for before, behind in (("", ""), ("a", "\u0301"), ("\u1100", "\u1161\u11a8")):
        for at in range(0, len(POINTS), 512):
            text = "".join(f"{before}{chr(point)}{behind}\n" for point in POINTS[at : at + 512])
            assert nfc(text, tables) == unicodedata.normalize("NFC", text)


def test_random_rows_of_marks_and_letters(tables: TokenizerTables) -> None:
    draw = random.Random(5)
    marks = [chr(first) for first in tables.combining]
    bases = [*"aeoAO\u1100\u1161\u11a8\uac00\u09c7\u09be", *map(chr, tables.decompositions)]
    for _ in range(3000):
        text = "".join(draw.choice(draw.choice((marks, bases))) for _ in range(draw.randrange(12)))
        assert nfc(text, tables) == unicodedata.normalize("NFC", text)
