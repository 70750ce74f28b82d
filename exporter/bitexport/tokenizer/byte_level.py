"""Byte-level BPE as vocabularies in GPT-2's alphabet say it, whatever file holds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from bitexport.tokenizer import byte_alphabet
from bitexport.tokenizer.characters import CODE_POINTS, numeric, of_ranges
from bitexport.tokenizer.description import Description, Kind, Pattern
from bitexport.tokenizer.pattern import Either, One, Repeat, Row
from bitexport.tokenizer.refusal import damaged, refuse

NEVER_IN_UTF8 = (0xC0, 0xC1, *range(0xF5, 0x100))
ASCII, LEADING, THREE_BYTES, FOUR_BYTES = 0x80, 0xC0, 0xE0, 0xF0


def byte_level(
    vocabulary: Mapping[str, int], merges: Iterable[str | tuple[str, str]], whole_pieces: bool
) -> Description:
    """Return the tokenizer of a vocabulary and its merges by rank; text is prepared elsewhere."""
    stands_for = {name: byte_alphabet.to_bytes(name) for name in vocabulary}
    whole = {
        spelled: vocabulary[name] for name, spelled in stands_for.items() if spelled is not None
    }
    return Description(
        kind=Kind.BYTES,
        tokens={
            token: name.encode() if (spelled := stands_for[name]) is None else spelled
            for name, token in vocabulary.items()
        },
        merges=numbered_merges(merges, vocabulary),
        byte_tokens={text[0]: token for text, token in whole.items() if len(text) == 1},
        whole=whole if whole_pieces else None,
    )


def numbered_merges(
    merges: Iterable[str | tuple[str, str]], vocabulary: Mapping[str, int]
) -> tuple[tuple[int, int, int], ...]:
    """Return (a, b, token) by rank; of two ranks of a pair the later counts."""
    found: dict[tuple[int, int], int] = {}
    for merge in merges:
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if len(parts) != 2:  # noqa: PLR2004
            damaged(f"has the merge `{merge}`, which is not of two tokens")
        first, second = parts
        for token in (first, second, first + second):
            if token not in vocabulary:
                damaged(f"merges `{first}` and `{second}`, but has no token `{token}`")
        pair = vocabulary[first], vocabulary[second]
        found.pop(pair, None)
        found[pair] = vocabulary[first + second]
    return tuple((a, b, token) for (a, b), token in found.items())


def with_digits_of_bytes(description: Description) -> Description:
    """Cut where the pre-tokenizer Digits cuts bytes: inside characters too.

    Behind ByteLevel a byte is a letter, and some of those letters are numbers: 0xB2 is a
    superscript two.  Cutting there is nothing where no merge joins what was cut; the digits of
    ASCII are a stage of their own.  What is left: a byte without token vanishes, and numbers that
    it kept apart become neighbours; so texts are cut before characters that begin with such a byte.
    """
    numbers = numeric()
    is_number = {b: bool(numbers[ord(c)]) for b, c in byte_alphabet.CHARACTER_OF.items()}
    beyond = {byte for byte, number in is_number.items() if number and byte >= ASCII}
    for a, b, token in description.merges:
        last, first = description.tokens[a][-1], description.tokens[b][0]
        if is_number[last] != is_number[first] and beyond & {last, first}:
            refuse(f"cuts inside characters, where it also merges to {description.tokens[token]!r}")
    missing = {byte for byte in range(256) if byte not in description.byte_tokens}
    missing -= set(NEVER_IN_UTF8)
    if missing and description.unknown is not None:
        refuse("cuts inside characters and has an unknown token")
    inner = sorted(byte for byte in missing if ASCII <= byte < LEADING)
    if inner:
        refuse(f"cuts inside characters and has no token for the byte {inner[0]:#04x}")
    leads = {byte for byte in missing if byte >= LEADING}
    apart = [each for each in _begun_by(leads, beyond) if each[0] < CODE_POINTS]
    if not apart:
        return description
    one, others = One(of_ranges(apart)), One(~of_ranges(apart))
    some = Repeat(others, 0, None)
    node = Either((Row((one, some)), Repeat(others, 1, None)))
    return dataclasses.replace(description, stages=(*description.stages, Pattern(node, "Digits")))


def _begun_by(leads: set[int], seconds: set[int]) -> Iterator[tuple[int, int]]:
    """Yield ranges of characters whose UTF-8 begins with one of these bytes, then one of those."""
    for lead in sorted(leads):
        behind = 1 if lead < THREE_BYTES else 2 if lead < FOUR_BYTES else 3
        base = (lead & (0x3F >> behind)) << 6 * behind
        for second in sorted(seconds):
            if second < LEADING:
                first = base + ((second & 0x3F) << 6 * (behind - 1))
                yield first, min(first + (1 << 6 * (behind - 1)), CODE_POINTS) - 1
