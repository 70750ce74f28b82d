"""Small tokenizer tables and chat templates, packed from FORMAT.md, sections 3.9 and 3.10.

Everything is a plain mutable record, so that a test can break one thing and write the rest as it
was.  The tokens of `byte_tables()` and `character_tables()` are listed where they are made.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence

NONE = 0xFFFFFFFF
BYTES, CHARACTERS = 1, 2
NFC, LOWER_BLOCK, WHOLE, DROP, FUSE, UNLESS = 1, 2, 4, 8, 16, 32
CONTROL, ADDED, BYTE, LSTRIP, RSTRIP, UNUSED = 1, 2, 4, 8, 16, 32
PATTERN, TAIL = 1, 2
ENDS = 0x8000
INDEX = 4352


@dataclasses.dataclass
class Tables:
    """Section 3.9; names are those of its tables."""

    kind: int
    tokens: list[bytes]
    flags: int = 0
    prefix: int = 0
    unknown: int = NONE
    token_flags: dict[int, int] = dataclasses.field(default_factory=dict)
    byte_tokens: list[int] = dataclasses.field(default_factory=lambda: [NONE] * 256)
    characters: dict[str, int] = dataclasses.field(default_factory=dict)
    merges: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)
    added: list[int] = dataclasses.field(default_factory=list)
    added_normalized: list[int] = dataclasses.field(default_factory=list)
    exceptions: list[int] = dataclasses.field(default_factory=list)
    classes: list[str] = dataclasses.field(default_factory=list)
    """Class 1, 2, … have these characters, all others are of class 0."""
    spaces: tuple[int, ...] = ()
    stages: list[tuple[int, int, list[int]]] = dataclasses.field(default_factory=list)
    """(kind, states, transitions)."""
    decompositions: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)
    compositions: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)
    combining: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)
    prefix_tokens: list[int] = dataclasses.field(default_factory=list)
    suffix_tokens: list[int] = dataclasses.field(default_factory=list)
    ranks: list[int] = dataclasses.field(default_factory=list)
    header: dict[int, int] = dataclasses.field(default_factory=dict)
    """Words of the header that say something else."""

    def write(self) -> bytes:
        """Return the section."""
        slots = self._slots()
        index, blocks, kinds = self._classes()
        first, stages, transitions = 0, list[tuple[int, ...]](), list[int]()
        for kind, states, numbers in self.stages:
            stages.append((kind, states, first, 0))
            transitions += numbers
            first += len(numbers)
        head = [0] * 32
        head[:24] = [
            *(self.kind, self.flags, self.prefix, len(self.tokens), len(b"".join(self.tokens))),
            *(self.unknown, len(self.merges), len(slots), len(self.characters), len(self.added)),
            *(len(self.added_normalized), len(self.exceptions), len(stages), len(kinds)),
            *(len(blocks) // 256, len(transitions), len(self.decompositions)),
            *(len(self.compositions), len(self.combining), len(self.prefix_tokens)),
            *(len(self.suffix_tokens), 0, len(self.ranks), 0),
        ]
        for word, number in self.header.items():
            head[word] = number
        ends = [len(b"".join(self.tokens[: i + 1])) for i in range(len(self.tokens))]
        characters = sorted((ord(c), token) for c, token in self.characters.items())
        tables = [
            packed("I", ends), b"".join(self.tokens),
            bytes(self.token_flags.get(token, 0) for token in range(len(self.tokens))),
            packed("I", self.byte_tokens), records(characters), records(self.merges),
            packed("I", slots), packed("I", self.added), packed("I", self.added_normalized),
            packed("I", self.exceptions), packed("H", index), blocks, kinds, records(stages),
            packed("H", transitions), records(self.decompositions), records(self.compositions),
            records(self.combining), packed("I", self.prefix_tokens),
            packed("I", self.suffix_tokens), packed("I", self.ranks),
        ]  # fmt: skip
        section = packed("I", head)
        for table in filter(None, tables):
            section += bytes(-len(section) % 8) + table
        return section

    def _slots(self) -> list[int]:
        size = 1
        while size <= len(self.merges):
            size *= 2
        slots = [NONE] * (size if self.merges else 0)
        for index, (a, b, _) in enumerate(self.merges):
            mixed = (a * 0x9E3779B1 ^ b * 0x85EBCA77) & NONE
            at = (mixed ^ mixed >> 15) % size
            while slots[at] != NONE:
                at = (at + 1) % size
            slots[at] = index
        return slots

    def _classes(self) -> tuple[list[int], bytes, bytes]:
        if not self.classes:
            return [], b"", b""
        found = {ord(c): number for number, members in enumerate(self.classes, 1) for c in members}
        index, blocks = [0] * INDEX, bytearray(256)
        for block in sorted({point >> 8 for point in found}):
            index[block] = len(blocks) // 256
            blocks += bytes(found.get(256 * block + i, 0) for i in range(256))
        kinds = bytes(number in self.spaces for number in range(len(self.classes) + 1))
        return index, bytes(blocks), kinds


def packed(form: str, numbers: Sequence[int]) -> bytes:
    """Return numbers of one size."""
    return struct.pack(f"<{len(numbers)}{form}", *numbers)


def records(rows: Sequence[Sequence[int]]) -> bytes:
    """Return records of u32."""
    return b"".join(packed("I", row) for row in rows)


# ---- Byte-level BPE --------------------------------------------------------------------------

AB, CD, _AB, BC, ABCD, AA = range(256, 262)
S, X, XY, R, ODD, BCD = range(262, 268)
NORMALIZED, EURO_HEAD, EURO_TAIL, LONG = range(268, 272)
LETTERS, DIGITS = "abcdxyz\u00e9\u4e2d", "0123456789"
WHITE_SPACE = " \t\n\u00a0\u3000"

# ` ?L+|N{1,2}`: what is looked at is other, space, letter, digit, END.
WORDS = [
    [0, 0, 0, 0, 0],
    [0, 2, 3, 4, 0],
    [0, 0, 3, 0, 0],
    [ENDS, ENDS, ENDS | 3, ENDS, ENDS],
    [ENDS, ENDS, ENDS, ENDS | 5, ENDS],
    [ENDS, ENDS, ENDS, ENDS, ENDS],
]


def byte_tables() -> Tables:
    """Return tables of kind 1: the bytes, some merges, and one added token of each sort."""
    tokens = [bytes([byte]) for byte in range(256)]
    tokens += [b"ab", b"cd", b" ab", b"bc", b"abcd", b"aa"]
    tokens += [b"<s>", b"<x>", b"<xy>", b"<r>", b"<odd>", b"bcd"]
    tokens += [b"<n>", b"\xe2\x82", b"\xac", b"<s>b"]
    a, b, c, d, space = b"abcd "
    return Tables(
        BYTES,
        tokens,
        token_flags=dict.fromkeys(range(256), BYTE)
        | {S: CONTROL | ADDED, X: ADDED | LSTRIP, XY: ADDED, R: ADDED | RSTRIP, ODD: UNUSED}
        | {NORMALIZED: ADDED, LONG: ADDED},
        byte_tokens=list(range(256)),
        merges=[(a, b, AB), (c, d, CD), (space, AB, _AB), (b, c, BC), (AB, CD, ABCD), (a, a, AA)],
        added=[R, S, LONG, X, XY],
        added_normalized=[NORMALIZED],
        exceptions=[BCD],
        classes=[WHITE_SPACE, LETTERS, DIGITS],
        spaces=(1,),
        stages=[(PATTERN, len(WORDS), [step for row in WORDS for step in row])],
        prefix_tokens=[S],
        suffix_tokens=[R, S],
    )


# ---- SentencePiece ---------------------------------------------------------------------------

UNKNOWN, BEGIN, NEWLINE, E9_HEAD, E9_TAIL = range(5)
SPACE, AITCH, EYE, HI, _H, _HI, DOUBLE = range(5, 12)


def character_tables() -> Tables:
    """Return tables of kind 2: words begin with U+2581, and few bytes have a token."""
    tokens = [b"<unk>", b"<s>", b"\n", b"\xc3", b"\xa9"]
    tokens += [b" ", b"h", b"i", b"hi", b" h", b" hi", b"  "]
    byte_tokens = [NONE] * 256
    byte_tokens[0x0A], byte_tokens[0xC3], byte_tokens[0xA9] = NEWLINE, E9_HEAD, E9_TAIL
    return Tables(
        CHARACTERS,
        tokens,
        flags=LOWER_BLOCK | DROP | FUSE,
        prefix=2,
        unknown=UNKNOWN,
        token_flags={UNKNOWN: CONTROL, BEGIN: CONTROL, NEWLINE: BYTE, E9_HEAD: BYTE, E9_TAIL: BYTE},
        byte_tokens=byte_tokens,
        characters={"\u2581": SPACE, "h": AITCH, "i": EYE},
        merges=[
            (SPACE, SPACE, DOUBLE), (SPACE, AITCH, _H), (AITCH, EYE, HI), (SPACE, HI, _HI),
            (_H, EYE, _HI),
        ],
        added=[BEGIN],
    )  # fmt: skip


# ---- Normal forms ----------------------------------------------------------------------------


def normal_tables() -> Tables:
    """Return tables of bytes with a few rows of Unicode's normal forms."""
    return Tables(
        BYTES,
        [bytes([byte]) for byte in range(256)],
        flags=NFC,
        byte_tokens=list(range(256)),
        decompositions=[
            (0xC5, 0x41, 0x30A), (0x344, 0x308, 0x301), (0x1E63, 0x73, 0x323),
            (0x1E69, 0x1E63, 0x307), (0x212B, 0xC5, 0), (0x1D15E, 0x1D157, 0x1D165),
        ],
        compositions=[
            (0x41, 0x30A, 0xC5), (0x73, 0x323, 0x1E63), (0x9C7, 0x9BE, 0x9CB),
            (0x1E63, 0x307, 0x1E69),
        ],
        combining=[
            (0x300, 0x314, 230), (0x323, 0x326, 220), (0x345, 0x345, 240),
            (0x1D165, 0x1D165, 216),
        ],
    )  # fmt: skip


# ---- Chat ------------------------------------------------------------------------------------


def chat_section(
    segments: dict[tuple[int, int], bytes],
    flags: int = 0,
    strip: tuple[int, int, int] = (0, 0, 0),
    stops: Sequence[int] = (),
) -> bytes:
    """Return section 3.10; segments by row (start, system, …) and column (system, …, stop).

    `strip` has for system, user, assistant two bits a row: left, right.
    """
    places, held = [NONE] * 40, b""
    for (row, column), segment in segments.items():
        at = 2 * (5 * row + column)
        places[at : at + 2] = [len(held), len(segment)]
        held += segment
    unused = [NONE] * (8 - len(stops))
    places[::2] = [0 if number == NONE else number for number in places[::2]]
    return packed("I", [flags, *strip, len(stops), 0, 0, 0, *places, *stops, *unused]) + held
