"""Reads the tokenizer's tables (FORMAT.md, section 3.9) and checks them (R26)."""

from __future__ import annotations

import dataclasses
import enum
import itertools
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.bitx_records import NONE, UNSUPPORTED, require

HEADER = struct.Struct("<32I")
RULE = 26
BYTES = 256
CODE_POINTS = 0x110000
SURROGATES = 0xD800, 0xDFFF
ASCII = 0x7F
MOST_COMBINING = 254
MOST_PROBES = 16  # for each slot, of the searches for all merges
BLOCK = 256
MOST_CLASSES, MOST_BLOCKS, MOST_STAGES, MOST_FIXED_TOKENS = 255, 4352, 8, 8
WHITE_SPACE = 1
ENDS_HERE = 0x8000
LEAST_STATES = 2  # the dead one and the start


class Kind(enum.IntEnum):
    """What a symbol is before anything is merged."""

    BYTES = 1
    CHARACTERS = 2


class Flag(enum.IntFlag):
    """How text is prepared, cut and put together."""

    NFC = 1
    SPACES_TO_U2581 = 2
    WHOLE_PIECES = 4
    DROP_FIRST_SPACE = 8
    FUSE_UNKNOWN = 16
    PREFIX_UNLESS_THERE = 32


class Prefix(enum.IntEnum):
    """Which segments get a space before them."""

    NEVER = 0
    EVERY_SEGMENT = 1
    START_OF_TEXT = 2


class TokenFlag(enum.IntFlag):
    """What a token is."""

    CONTROL = 1
    ADDED = 2
    BYTE = 4
    LSTRIP = 8
    RSTRIP = 16
    UNUSED = 32


class StageKind(enum.IntEnum):
    """How a stage cuts its pieces."""

    PATTERN = 1
    TAIL = 2


@dataclasses.dataclass(frozen=True)
class Stage:
    """One way of cutting: a leftmost-first automaton, or a set of classes.

    transitions: of a pattern u16 (states, classes + 1); of a tail, bool (classes).
    """

    kind: StageKind
    transitions: NDArray[Any]


@dataclasses.dataclass(frozen=True)
class TokenizerTables:
    """All of section 3.9; names are those of its tables."""

    kind: Kind
    flags: Flag
    prefix: Prefix
    unknown: int | None
    unicode: tuple[int, int, int]
    tokens: tuple[bytes, ...]
    token_flags: tuple[TokenFlag, ...]
    byte_tokens: tuple[int | None, ...]
    characters: Mapping[str, int]
    merges: Mapping[tuple[int, int], tuple[int, int]]
    """(rank, token) by the two neighbours."""
    added: tuple[int, ...]
    added_normalized: tuple[int, ...]
    exceptions: Mapping[bytes, int]
    class_index: NDArray[np.uint16]
    class_blocks: NDArray[np.uint8]
    spaces: frozenset[int]
    """Classes of White_Space."""
    stages: tuple[Stage, ...]
    decompositions: Mapping[int, tuple[int, ...]]
    compositions: Mapping[tuple[int, int], int]
    combining: Mapping[int, int]
    prefix_tokens: tuple[int, ...]
    suffix_tokens: tuple[int, ...]

    def class_of(self, character: str) -> int:
        """Return the class of one character."""
        point = ord(character)
        return int(self.class_blocks[self.class_index[point >> 8], point & 0xFF])

    def is_space(self, character: str) -> bool:
        """Whether the character has the property White_Space, if classes are there at all."""
        return bool(self.class_blocks.size) and self.class_of(character) in self.spaces


class _Cursor:
    """Takes one table after the other, each at the next multiple of 8."""

    def __init__(self, section: bytes) -> None:
        self.section = section
        self.at = HEADER.size

    def take(self, count: int, dtype: str, columns: int = 1) -> NDArray[Any]:
        start = -(-self.at // 8) * 8 if count else self.at
        size = count * columns * np.dtype(dtype).itemsize
        inside = start + size <= len(self.section)
        _require(inside, f"a table of {count} entries ends past the end of the section")
        _require(not any(self.section[self.at : start]), "padding is not zero")
        table = np.frombuffer(self.section, dtype, count * columns, start)
        self.at = start + size
        return table.reshape(-1, columns) if columns > 1 else table


@dataclasses.dataclass(frozen=True)
class _Counts:
    """The header, as FORMAT.md orders it."""

    kind: int
    flags: int
    prefix: int
    tokens: int
    token_bytes: int
    unknown: int
    merges: int
    slots: int
    characters: int
    added: int
    added_normalized: int
    exceptions: int
    stages: int
    classes: int
    blocks: int
    transitions: int
    decompositions: int
    compositions: int
    combining: int
    prefix_tokens: int
    suffix_tokens: int
    version: int
    token_ranks: int


def read_tables(section: bytes, vocabulary: int) -> TokenizerTables:
    """Read and check section 9 of a model with so many tokens; a broken one is a `BitxError`."""
    head = _read_header(section, vocabulary)
    tables = _Cursor(section)
    ends = tables.take(head.tokens, "<u4")
    raw = tables.take(head.token_bytes, "u1").tobytes()
    token_flags = tables.take(head.tokens, "u1")
    byte_tokens = tables.take(BYTES, "<u4")
    characters = tables.take(head.characters, "<u4", 2)
    merges = tables.take(head.merges, "<u4", 3)
    slots = tables.take(head.slots, "<u4")
    added = tables.take(head.added, "<u4")
    added_normalized = tables.take(head.added_normalized, "<u4")
    exceptions = tables.take(head.exceptions, "<u4")
    class_index = tables.take(MOST_BLOCKS if head.blocks else 0, "<u2")
    class_blocks = tables.take(head.blocks * BLOCK, "u1").reshape(-1, BLOCK)
    class_kinds = tables.take(head.classes, "u1")
    stages = tables.take(head.stages, "<u4", 4)
    transitions = tables.take(head.transitions, "<u2")
    decompositions = tables.take(head.decompositions, "<u4", 3)
    compositions = tables.take(head.compositions, "<u4", 3)
    combining = tables.take(head.combining, "<u4", 3)
    fixed = [tables.take(n, "<u4") for n in (head.prefix_tokens, head.suffix_tokens)]
    token_ranks = tables.take(head.token_ranks, "<u4")
    _require(tables.at == len(section), f"{len(section) - tables.at} bytes belong to no table")

    known = int(token_flags.max()) < 2 * max(TokenFlag)
    _require(known, "an unknown flag of a token", UNSUPPORTED)
    for table in (merges, added, added_normalized, exceptions, characters[:, 1], *fixed):
        _require(np.all(table < head.tokens), "a token is outside the tokenizer")
    sound = (byte_tokens < head.tokens) | (byte_tokens == NONE)
    _require(np.all(sound), "a byte's token is not one")
    _require(np.all(class_index < head.blocks), "a class block does not exist")
    _require(np.all(class_blocks < head.classes), "a class does not exist")
    _require(np.all(class_kinds <= WHITE_SPACE), "an unknown kind of class", UNSUPPORTED)
    _check_slots(merges, slots)
    tokens = _tokens(ends, raw)
    for what, table in (("added tokens", added), ("normalized added tokens", added_normalized),
                        ("exceptions", exceptions)):  # fmt: skip
        _check_increasing(what, [tokens[token] for token in table])
    texts = [tokens[token] for table in (added, added_normalized, exceptions) for token in table]
    _require(all(texts), "an added token or an exception is empty")
    for token in (*added, *added_normalized):
        _require(_is_utf8(tokens[token]), f"added token {token} is not UTF-8")
    control = token_flags[added_normalized] & TokenFlag.CONTROL
    _require(not control.any(), "a control token is normalized")
    _require(not np.any(merges == head.unknown), "a merge names the unknown token")
    if head.token_ranks:
        ranks = token_ranks[merges[:, 2]]
        _require(np.all(ranks != NONE), "a merge has no rank")
        _require(np.all(ranks[:-1] <= ranks[1:]), "the ranks of merges decrease")
    _check_points(characters, decompositions, compositions, combining)
    return TokenizerTables(
        kind=Kind(head.kind),
        flags=Flag(head.flags),
        prefix=Prefix(head.prefix),
        unknown=None if head.unknown == NONE else head.unknown,
        unicode=(head.version >> 16, head.version >> 8 & 0xFF, head.version & 0xFF),
        tokens=tokens,
        token_flags=tuple(map(TokenFlag, token_flags.tolist())),
        byte_tokens=tuple(None if t == NONE else t for t in byte_tokens.tolist()),
        characters={chr(point): token for point, token in characters.tolist()},
        merges={
            (a, b): (int(token_ranks[token]) if head.token_ranks else index, token)
            for index, (a, b, token) in enumerate(merges.tolist())
        },
        added=tuple(added.tolist()),
        added_normalized=tuple(added_normalized.tolist()),
        exceptions={tokens[token]: token for token in exceptions.tolist()},
        class_index=class_index,
        class_blocks=class_blocks,
        spaces=frozenset(np.flatnonzero(class_kinds == WHITE_SPACE).tolist()),
        stages=tuple(_stages(stages.tolist(), transitions, head.classes)),
        decompositions={
            point: (first, second) if second else (first,)
            for point, first, second in decompositions.tolist()
        },
        compositions={(a, b): c for a, b, c in compositions.tolist()},
        combining={
            point: value
            for first, last, value in combining.tolist()
            for point in range(first, last + 1)
        },
        prefix_tokens=tuple(fixed[0].tolist()),
        suffix_tokens=tuple(fixed[1].tolist()),
    )


def _read_header(section: bytes, vocabulary: int) -> _Counts:
    """Check what the header alone says."""
    _require(len(section) >= HEADER.size, f"{len(section)} bytes hold no header")
    numbers = HEADER.unpack_from(section)
    fields = len(dataclasses.fields(_Counts))
    head = _Counts(*numbers[:fields])
    _require(not any(numbers[fields:]), "a reserved field is not 0")
    _require(head.kind in list(Kind), f"kind {head.kind}", UNSUPPORTED)
    _require(head.flags < 2 * max(Flag), f"flags {head.flags:#x}", UNSUPPORTED)
    _require(head.prefix in list(Prefix), f"prefix rule {head.prefix}", UNSUPPORTED)
    inside = 0 < head.tokens <= vocabulary
    _require(inside, f"{head.tokens} tokens, the model has {vocabulary}")
    ranks = head.token_ranks in (0, head.tokens)
    _require(ranks, f"{head.token_ranks} ranks of {head.tokens} tokens")
    unknown = head.unknown == NONE or head.unknown < head.tokens
    _require(unknown, f"unknown token {head.unknown}")
    suits = head.kind == Kind.CHARACTERS or head.characters == 0
    _require(suits, "characters in a tokenizer of bytes")
    _require(head.stages <= MOST_STAGES, f"{head.stages} stages")
    few = head.classes <= MOST_CLASSES and head.blocks <= MOST_BLOCKS
    both = (head.classes > 0) == (head.blocks > 0)
    _require(few and both, f"{head.classes} classes in {head.blocks} blocks")
    few = max(head.prefix_tokens, head.suffix_tokens) <= MOST_FIXED_TOKENS
    _require(few, "too many prefix or suffix tokens")
    return head


def _check_points(
    characters: NDArray[Any], decompositions: NDArray[Any], compositions: NDArray[Any],
    combining: NDArray[Any],
) -> None:  # fmt: skip
    """Check code points, and the orders that searches among them rely on."""
    for table in (characters[:, 0], decompositions, compositions, combining[:, :2]):
        is_one = (table < CODE_POINTS) & ((table < SURROGATES[0]) | (table > SURROGATES[1]))
        _require(np.all(is_one), "a code point is no character")
    for table in (decompositions[:, 0], compositions[:, 1], combining[:, 0]):
        _require(np.all(table > ASCII), "ASCII has a part in a normal form")
    kinds = combining[:, 2]
    _require(np.all((kinds >= 1) & (kinds <= MOST_COMBINING)), "a combining class is none")
    _check_increasing("characters", characters[:, 0].tolist())
    _check_increasing("decompositions", decompositions[:, 0].tolist())
    _check_increasing("compositions", [(a, b) for a, b, _ in compositions.tolist()])
    ends = [(last, first) for first, last, _ in combining.tolist()]
    disjoint = all(a[0] < b[1] for a, b in itertools.pairwise(ends))
    _require(disjoint and all(last >= first for last, first in ends), "combining classes overlap")


def _tokens(ends: NDArray[Any], raw: bytes) -> tuple[bytes, ...]:
    """Return the bytes of every token."""
    starts = itertools.chain((0,), ends.tolist())
    bounds = list(itertools.pairwise(starts))
    _require(all(a <= b for a, b in bounds), "token ends decrease")
    _require(bounds[-1][1] == len(raw), f"the last token ends at {bounds[-1][1]} of {len(raw)}")
    return tuple(raw[a:b] for a, b in bounds)


def _check_slots(merges: NDArray[Any], slots: NDArray[Any]) -> None:
    """Check that every merge is found where the hash function looks for it, and once."""
    size = len(slots)
    suits = size == 0 if len(merges) == 0 else len(merges) < size < 1 << 31 and size & size - 1 == 0
    _require(suits, f"{size} slots for {len(merges)} merges")
    used = [slot for slot in slots.tolist() if slot != NONE]
    _require(sorted(used) == list(range(len(merges))), "slots do not hold every merge once")
    pairs = {(a, b) for a, b, _ in merges.tolist()}
    _require(len(pairs) == len(merges), "a pair is merged twice")
    probes = 0
    for index, (a, b, _) in enumerate(merges.tolist()):
        at = slot_of(a, b, size)
        probes += 1
        while slots[at] != index:
            _require(slots[at] != NONE, f"merge {index} is not where its hash says")
            at = (at + 1) % size
            probes += 1
    _require(probes <= MOST_PROBES * size, f"{probes} slots are looked at for all merges")


def slot_of(a: int, b: int, size: int) -> int:
    """Return where the search for a merge of a and b begins among so many slots."""
    mixed = (a * 0x9E3779B1 ^ b * 0x85EBCA77) & 0xFFFFFFFF
    return (mixed ^ mixed >> 15) % size


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _stages(
    table: Iterable[Sequence[int]], transitions: NDArray[Any], classes: int
) -> Iterator[Stage]:
    """Cut the transitions into stages."""
    for kind, states, first, reserved in table:
        _require(kind in list(StageKind), f"a stage of kind {kind}", UNSUPPORTED)
        _require(reserved == 0, "a stage's reserved field is not 0")
        _require(classes > 0, "a stage without classes")
        if kind == StageKind.TAIL:
            words = -(-classes // 16)
            _require(states == 0 and first + words <= len(transitions), "a tail has no set")
            bits = transitions[first : first + words].astype("<u2").view(np.uint8)
            members = np.unpackbits(bits, bitorder="little").astype(bool)
            _require(not members[classes:].any(), "a tail has a class that does not exist")
            yield Stage(StageKind.TAIL, members[:classes])
            continue
        size = states * (classes + 1)
        inside = LEAST_STATES <= states <= ENDS_HERE and first + size <= len(transitions)
        _require(inside, f"a pattern of {states} states does not lie in the transitions")
        automaton = transitions[first : first + size].reshape(states, classes + 1)
        _require(np.all((automaton & (ENDS_HERE - 1)) < states), "a state does not exist")
        yield Stage(StageKind.PATTERN, automaton)


def _check_increasing(what: str, keys: Sequence[Any]) -> None:
    """Check the order that a search relies on."""
    _require(all(a < b for a, b in itertools.pairwise(keys)), f"{what} do not increase")


def _require(holds: Any, message: str, status: str = "BITX_E_FORMAT") -> None:
    require(RULE, bool(holds), f"tokenizer: {message}", status=status)
