"""Writes section 9 of a .bitx file (targets/FORMAT.md, 3.9): the tables that devices walk."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from bitexport.errors import CheckpointError
from bitexport.tokenizer.automaton import Partition, compile_pattern, partition, sets_of
from bitexport.tokenizer.characters import CODE_POINTS, UNICODE, white_space
from bitexport.tokenizer.description import MARK, Added, Description, Kind, Pattern, Tail
from bitexport.tokenizer.merging import Merges, merged
from bitexport.tokenizer.normal_forms import NormalForms, normal_forms
from bitexport.tokenizer.refusal import WAY_OUT, damaged, refuse

NONE = 0xFFFFFFFF
HEADER_FIELDS = 32
BLOCK = 256
MOST_STAGES = 8
MOST_FIXED_TOKENS = 8
PATTERN, TAIL = 1, 2
WHITE_SPACE = 1


class Flag(enum.IntFlag):
    """How text is prepared, cut and put together."""

    NFC = 1
    SPACES_TO_U2581 = 2
    WHOLE_PIECES = 4
    DROP_FIRST_SPACE = 8
    FUSE_UNKNOWN = 16
    PREFIX_UNLESS_THERE = 32


class TokenFlag(enum.IntFlag):
    """What a token is."""

    CONTROL = 1
    ADDED = 2
    BYTE = 4
    LSTRIP = 8
    RSTRIP = 16
    UNUSED = 32


def tokenizer_section(description: Description, vocabulary: int) -> bytes:
    """Return the section for a model with so many tokens."""
    _check(description)
    merges = _ranked(description)
    exceptions = _exceptions(description, merges)
    ends, raw, flags = _tokens(description, vocabulary)
    stages, transitions, parts, kinds = _stages(description)
    index, blocks = _blocks(parts) if parts else (b"", b"")
    forms = normal_forms() if description.nfc else NormalForms((), (), ())
    text = {added.token: added.content.encode() for added in description.added}
    added = sorted(description.added, key=lambda each: text[each.token])
    ranks = description.token_ranks
    count = len(flags)
    slots = _slots([pair for pair, _ in merges])
    tables = (
        _words(ends), raw, flags, _words(description.byte_tokens.get(b, NONE) for b in range(256)),
        _words(n for c, token in sorted(description.characters.items()) for n in (ord(c), token)),
        _words(n for (a, b), (_, token) in merges for n in (a, b, token)), _words(slots),
        _words(each.token for each in added if not each.normalized),
        _words(each.token for each in added if each.normalized),
        _words(exceptions), index, blocks, kinds, b"".join(stages), transitions,
        _words(n for row in forms.decompositions for n in row),
        _words(n for row in forms.compositions for n in row),
        _words(n for row in forms.combining for n in row),
        _words(description.prefix_tokens), _words(description.suffix_tokens),
        _words([] if ranks is None else [ranks.get(token, NONE) for token in range(count)]),
    )  # fmt: skip
    depends = parts is not None or description.nfc
    header = (
        description.kind, _flags(description), description.prefix, count, len(raw),
        NONE if description.unknown is None else description.unknown, len(merges), len(slots),
        len(description.characters), sum(not each.normalized for each in added),
        sum(each.normalized for each in added), len(exceptions), len(stages), len(kinds),
        len(blocks) // BLOCK, len(transitions) // 2, len(forms.decompositions),
        len(forms.compositions), len(forms.combining), len(description.prefix_tokens),
        len(description.suffix_tokens),
        UNICODE[0] << 16 | UNICODE[1] << 8 | UNICODE[2] if depends else 0,
        0 if ranks is None else count,
    )  # fmt: skip
    section = _words((*header, *[0] * (HEADER_FIELDS - len(header))))
    for table in tables:
        if table:
            section += bytes(-len(section) % 8) + table
    return section


def _check(description: Description) -> None:
    """Refuse what the tables could hold and no device would read."""
    known = {*description.tokens, *(added.token for added in description.added)}
    if min(known, default=0) < 0:
        damaged(f"has a token with the number {min(known)}")
    for token in (*description.prefix_tokens, *description.suffix_tokens):
        if token not in known:
            damaged(f"puts the token {token} before or behind a text and has no such token")
    for added in description.added:
        if added.control and added.normalized:
            refuse(f"looks for its control token `{added.content}` in normalized text")
    if any(description.unknown in merge for merge in description.merges):
        refuse("merges its unknown token")
    for tokens in (description.prefix_tokens, description.suffix_tokens):
        if len(tokens) > MOST_FIXED_TOKENS:
            refuse(f"puts {len(tokens)} tokens before or behind a text")


def _words(numbers: Iterable[int]) -> bytes:
    return np.fromiter(numbers, "<u4").tobytes()


def _flags(description: Description) -> Flag:
    asked = {
        Flag.NFC: description.nfc,
        Flag.SPACES_TO_U2581: description.spaces_marked,
        Flag.WHOLE_PIECES: description.whole is not None,
        Flag.DROP_FIRST_SPACE: description.drop_first_space,
        Flag.FUSE_UNKNOWN: description.fuse_unknown,
        Flag.PREFIX_UNLESS_THERE: description.prefix_unless_there,
    }
    return Flag(sum(flag for flag, holds in asked.items() if holds))


def _ranked(description: Description) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return ((a, b), (rank, token)) in the order of the table."""
    ranks = description.token_ranks
    if ranks is None:
        return [((a, b), (at, token)) for at, (a, b, token) in enumerate(description.merges)]
    found = [((a, b), (ranks[token], token)) for a, b, token in description.merges]
    return sorted(found, key=lambda each: (each[1][0], each[0]))


def _tokens(description: Description, vocabulary: int) -> tuple[list[int], bytes, bytes]:
    """Return ends, bytes and flags of all tokens; numbers that no token has are unused."""
    text = dict(description.tokens)
    flags = dict.fromkeys(text, TokenFlag(0))
    for token in description.byte_tokens.values():
        flags[token] |= TokenFlag.BYTE
    for added in description.added:
        text[added.token] = added.content.encode()
        flags[added.token] = flags.get(added.token, TokenFlag(0)) | _added_flags(added)
    for token in description.controls:
        flags[token] |= TokenFlag.CONTROL
    for token in description.unused:
        flags[token] |= TokenFlag.UNUSED
    count = max(text, default=-1) + 1
    if count > vocabulary or not count:
        raise CheckpointError(
            f"the tokenizer has tokens up to number {count - 1}, the model a vocabulary of "
            f"{vocabulary}",
            hint="tokenizer and weights belong to different models",
        )
    rows = [text.get(token, b"") for token in range(count)]
    ends = np.cumsum([len(row) for row in rows]).tolist()
    marks = bytes(flags.get(token, TokenFlag.UNUSED) for token in range(count))
    return ends, b"".join(rows), marks


def _added_flags(added: Added) -> TokenFlag:
    control = TokenFlag.CONTROL if added.control else 0
    strips = (TokenFlag.LSTRIP if added.lstrip else 0) | (TokenFlag.RSTRIP if added.rstrip else 0)
    return TokenFlag(TokenFlag.ADDED | control | strips)


def _slots(pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Return the hash table of the merges: the index of each where its search finds it."""
    if not pairs:
        return []
    size = 2
    while size < 2 * len(pairs):  # a failed search then looks at 2.5 slots
        size *= 2
    slots = [NONE] * size
    for index, (a, b) in enumerate(pairs):
        mixed = (a * 0x9E3779B1 ^ b * 0x85EBCA77) & 0xFFFFFFFF
        at = (mixed ^ mixed >> 15) % size
        while slots[at] != NONE:
            at = (at + 1) % size
        slots[at] = index
    return slots


def _exceptions(
    description: Description, merges: Sequence[tuple[tuple[int, int], tuple[int, int]]]
) -> list[int]:
    """Return the tokens, by their bytes, that a whole piece may be and its merges do not give."""
    if description.whole is None:
        return []
    table: Merges = dict(merges)
    whole = description.whole
    return [
        token
        for text, token in sorted(whole.items())
        if text  # no piece is empty
        and ((found := _symbols(text, description)) is None or merged(found, table) != [token])
    ]


def _symbols(text: bytes, description: Description) -> list[int] | None:
    """Return what a piece begins as; None, if some of it is unknown."""
    of_byte = description.byte_tokens
    found: list[int | None] = []
    if description.kind is Kind.BYTES:
        found = [of_byte.get(byte) for byte in text]
    else:
        for character in text.decode().replace(" ", MARK if description.spaces_marked else " "):
            token = description.characters.get(character)
            of_bytes = [of_byte.get(byte) for byte in character.encode()]
            found += of_bytes if token is None else [token]
    symbols = [token for token in found if token is not None]
    return symbols if len(symbols) == len(found) else None


def _stages(description: Description) -> tuple[list[bytes], bytes, Partition | None, bytes]:
    """Return records, transitions, classes and kinds of classes."""
    stages = description.stages
    strips = any(added.lstrip or added.rstrip for added in description.added)
    if not stages and not strips:
        return [], b"", None, b""
    if len(stages) > MOST_STAGES:
        raise CheckpointError(
            f"the tokenizer cuts text in {len(stages)} stages, the tables hold {MOST_STAGES}",
            hint=WAY_OUT,
        )
    spaces = white_space()
    parts = partition([spaces, *(each for stage in stages for each in sets_of(stage.node))])
    kinds = np.zeros(parts.count, np.uint8)
    kinds[list(parts.members(spaces))] = WHITE_SPACE
    records, transitions = [], b""
    for stage in stages:
        first = len(transitions) // 2
        match stage:
            case Pattern():
                rows = compile_pattern(stage.node, parts, stage.name)
                records.append(struct.pack("<4I", PATTERN, len(rows), first, 0))
                transitions += rows.astype("<u2").tobytes()
            case Tail():
                members = np.zeros(-(-parts.count // 16) * 16, bool)
                for characters in sets_of(stage.node):
                    members[list(parts.members(characters))] = True
                records.append(struct.pack("<4I", TAIL, 0, first, 0))
                transitions += np.packbits(members, bitorder="little").tobytes()
    return records, transitions, parts, kinds.tobytes()


def _blocks(parts: Partition) -> tuple[bytes, bytes]:
    """Return the classes of all code points in two steps: blocks that are alike are there once."""
    blocks: dict[bytes, int] = {}
    index: list[int] = []
    for start in range(0, CODE_POINTS, BLOCK):
        block = parts.classes[start : start + BLOCK].tobytes()
        index.append(blocks.setdefault(block, len(blocks)))
    numbers: NDArray[np.uint16] = np.array(index, "<u2")
    return numbers.tobytes(), b"".join(blocks)
