"""Normalization form C is that of tokenizers, over all code points and among neighbours."""

import dataclasses
import random

import pytest
from tests.text.oracles import compiled
from tests.text.strings import strings
from tokenizers import normalizers

from bitexport.tokenizer.byte_level import byte_level
from bitexport.tokenizer.normal_forms import SINCE_UNICODE_9, normal_forms
from bitexport_ref.text.nfc import nfc
from bitexport_ref.text.tables import TokenizerTables

ORACLE = normalizers.NFC()
BLOCK = 0x1000


@pytest.fixture(scope="module")
def tables() -> TokenizerTables:
    """Return tables with NFC."""
    plain = byte_level({"a": 0}, [], whole_pieces=False)
    return compiled(dataclasses.replace(plain, nfc=True)).tables


def _differing(texts: list[str], tables: TokenizerTables) -> list[str]:
    """Return the texts that are normalized otherwise; they are joined by what nothing joins."""
    found = nfc("|".join(texts), tables).split("|")
    expected = ORACLE.normalize_str("|".join(texts)).split("|")
    return [t for t, a, b in zip(texts, found, expected, strict=True) if a != b]


def test_every_character(tables: TokenizerTables) -> None:
    points = [p for p in range(0x110000) if not 0xD800 <= p < 0xE000 and chr(p) != "|"]
    for start in range(0, len(points), BLOCK):
        texts = [chr(point) for point in points[start : start + BLOCK]]
        assert _differing(texts, tables) == []


@pytest.mark.parametrize(
    "around", ["q{}\u0301", "q\u0323{}", "e{}\u0334", "{}\u3099", "\u1100{}\u11a8"]
)
def test_every_character_that_changes_among_marks(around: str, tables: TokenizerTables) -> None:
    forms = normal_forms()
    points = {point for point, _, _ in forms.decompositions} | {*range(0x1100, 0x1200)}
    points |= {p for first, last, _ in (*forms.combining, *((a, b, 0) for a, b in SINCE_UNICODE_9))
               for p in range(first, last + 1)}  # fmt: skip
    assert _differing([around.format(chr(point)) for point in sorted(points)], tables) == []


def test_every_pair_that_composes_and_decomposes(tables: TokenizerTables) -> None:
    pairs = [chr(a) + chr(b) for a, b, _ in normal_forms().compositions]
    assert _differing(pairs, tables) == []
    assert _differing([pair + "\u0301\u0323" for pair in pairs], tables) == []


def test_rows_of_marks(tables: TokenizerTables) -> None:
    rng = random.Random(3)
    marks = [chr(p) for first, last, _ in normal_forms().combining for p in range(first, last + 1)]
    texts = ["o" + "".join(rng.choices(marks, k=rng.randrange(1, 9))) for _ in range(5000)]
    assert _differing(texts, tables) == []


def test_random_strings(tables: TokenizerTables) -> None:
    assert _differing([s for s in strings(4, 5000) if "|" not in s], tables) == []
