"""From text to tokens (TEXT.md, section 1)."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence

from bitexport_ref.errors import BadText
from bitexport_ref.text.nfc import nfc
from bitexport_ref.text.tables import (
    ENDS_HERE,
    Flag,
    Kind,
    Prefix,
    Stage,
    StageKind,
    TokenFlag,
    TokenizerTables,
)

DEAD, START = 0, 1
LOWER_BLOCK = "\u2581"
Range = tuple[int, int]


class Tokenizer:
    """A tokenizer as its tables describe it; keeps what words became, as pieces repeat."""

    def __init__(self, tables: TokenizerTables) -> None:
        self.tables = tables
        self._words: dict[str, tuple[int, ...]] = {}
        self._added = [_Trie(tables, group) for group in (tables.added, tables.added_normalized)]

    def encode(
        self,
        text: str | bytes,
        *,
        bare: bool = False,
        special: bool = True,
        plain: Sequence[Range] = (),
    ) -> list[int]:
        """Return the tokens of a text.

        `bare` leaves out prefix and suffix tokens; without `special` no control token is recognised
        in the text; neither is one that touches a range of `plain`, (start, end) in bytes of UTF-8.
        Ill-formed UTF-8 is `BadText`.
        """
        tables = self.tables
        decoded = well_formed(text)
        tokens = [] if bare else list(tables.prefix_tokens)
        for found in self._split(decoded, self._added[0], special, plain):
            if isinstance(found, int):
                tokens.append(found)
                continue
            start, segment = found
            normalized = self._normalized(segment, starts_text=start == 0)
            for inner in self._split(normalized, self._added[1], special, ()):
                if isinstance(inner, int):
                    tokens.append(inner)
                else:
                    tokens += itertools.chain.from_iterable(map(self._word, self._pieces(inner[1])))
        return tokens if bare else [*tokens, *tables.suffix_tokens]

    def _split(
        self, text: str, trie: _Trie, special: bool, plain: Sequence[Range]
    ) -> Iterator[int | tuple[int, str]]:
        """Yield added tokens, and the segments between them with where they start."""
        done = 0
        for begins, ends, token in trie.matches(text, special, plain):
            if begins < done:
                continue
            start, end = begins, ends
            flags = self.tables.token_flags[token]
            if TokenFlag.LSTRIP in flags:
                while start > done and self.tables.is_space(text[start - 1]):
                    start -= 1
            if TokenFlag.RSTRIP in flags:
                while end < len(text) and self.tables.is_space(text[end]):
                    end += 1
            if done < start:
                yield done, text[done:start]
            yield token
            done = end
        if done < len(text):
            yield done, text[done:]

    def _normalized(self, segment: str, *, starts_text: bool) -> str:
        """Return a segment as the stages are to see it."""
        flags, prefix = self.tables.flags, self.tables.prefix
        if Flag.NFC in flags:
            segment = nfc(segment, self.tables)
        wanted = prefix == Prefix.EVERY_SEGMENT or (prefix == Prefix.START_OF_TEXT and starts_text)
        becomes_block = Flag.SPACES_TO_U2581 in flags
        marks = (" ", LOWER_BLOCK) if becomes_block else " "
        there = segment.startswith(marks) and Flag.PREFIX_UNLESS_THERE in flags
        if wanted and not there:
            segment = " " + segment
        return segment.replace(" ", LOWER_BLOCK) if becomes_block else segment

    def _pieces(self, segment: str) -> Iterable[str]:
        """Cut a segment by the stages, one after the other."""
        pieces: Iterable[str] = (segment,)
        for stage in self.tables.stages:
            cut = self._matches if stage.kind == StageKind.PATTERN else self._tail
            pieces = [part for piece in pieces for part in cut(piece, stage)]
        return pieces

    def _matches(self, piece: str, stage: Stage) -> Iterator[str]:
        """Cut a piece into leftmost matches and what lies between them."""
        rows = stage.transitions.tolist()
        classes = [self.tables.class_of(character) for character in piece]
        classes.append(len(rows[0]) - 1)
        between = at = 0
        while at < len(piece):
            end, state = at, START
            for position in range(at, len(classes)):
                step = rows[state][classes[position]]
                if step & ENDS_HERE:
                    end = position
                state = step & ~ENDS_HERE
                if state == DEAD:
                    break
            if end == at:
                at += 1
                continue
            if between < at:
                yield piece[between:at]
            yield piece[at:end]
            between = at = end
        if between < at:
            yield piece[between:]

    def _tail(self, piece: str, stage: Stage) -> Iterator[str]:
        """Cut off the characters of a set that a piece ends with."""
        at = len(piece)
        while at and stage.transitions[self.tables.class_of(piece[at - 1])]:
            at -= 1
        yield from filter(None, (piece[:at], piece[at:]))

    def _word(self, piece: str) -> tuple[int, ...]:
        """Return the tokens of a piece."""
        tokens = self._words.get(piece)
        if tokens is None:
            tokens = self._words[piece] = tuple(self._encoded(piece))
        return tokens

    def _encoded(self, piece: str) -> list[int]:
        """Look a piece up as a whole, or make symbols of it and merge them."""
        if Flag.WHOLE_PIECES in self.tables.flags:
            text = piece.replace(LOWER_BLOCK, " ") if self.tables.kind == Kind.CHARACTERS else piece
            whole = self.tables.exceptions.get(text.encode())
            if whole is not None:
                return [whole]
        return merged(self._symbols(piece), self.tables)

    def _symbols(self, piece: str) -> list[int | None]:
        """Return the tokens that a piece begins as; None, where the unknown token stands."""
        tables = self.tables
        symbols: list[int | None] = []

        def unknown() -> None:
            fused = Flag.FUSE_UNKNOWN in tables.flags and symbols and symbols[-1] is None
            if tables.unknown is not None and not fused:
                symbols.append(None)

        if tables.kind == Kind.BYTES:
            for byte in piece.encode():
                token = tables.byte_tokens[byte]
                if token is None:
                    unknown()
                else:
                    symbols.append(token)
            return symbols
        for character in piece:
            token = tables.characters.get(character)
            of_bytes = [tables.byte_tokens[byte] for byte in character.encode()]
            if token is not None:
                symbols.append(token)
            elif None not in of_bytes:
                symbols += of_bytes
            else:
                unknown()
        return symbols


class _Trie:
    """Added tokens by their text."""

    def __init__(self, tables: TokenizerTables, tokens: Sequence[int]) -> None:
        self._control = {t for t in tokens if TokenFlag.CONTROL in tables.token_flags[t]}
        self._by_text = {tables.tokens[token].decode(): token for token in tokens}
        self._lengths = {
            first: sorted({len(text) for text in texts}, reverse=True)
            for first, texts in itertools.groupby(sorted(self._by_text), lambda text: text[0])
        }

    def matches(
        self, text: str, special: bool, plain: Sequence[Range]
    ) -> Iterator[tuple[int, int, int]]:
        """Yield (start, end, token), in characters, from the left; the longest at each place."""
        at = 0
        while at < len(text):
            for length in self._lengths.get(text[at], ()):
                token = self._by_text.get(text[at : at + length])
                if token is None or (token in self._control and not special):
                    continue
                if token in self._control and plain and _touches(text, at, length, plain):
                    continue
                yield at, at + length, token
                at += length
                break
            else:
                at += 1


def _touches(text: str, at: int, length: int, ranges: Sequence[Range]) -> bool:
    """Whether some byte of these characters lies in a range."""
    start = len(text[:at].encode())
    end = start + len(text[at : at + length].encode())
    return any(start < stop and begin < end for begin, stop in ranges)


def merged(symbols: Sequence[int | None], tables: TokenizerTables) -> list[int]:
    """Merge neighbours, the lowest rank first, of equal ones the leftmost; None is unknown."""
    tokens = list(symbols)
    after = list(range(1, len(tokens) + 1))
    before = list(range(-1, len(tokens) - 1))
    gone = [False] * len(tokens)
    heap: list[tuple[int, int, int, int | None, int | None]] = []

    def consider(left: int) -> None:
        right = after[left]
        if left < 0 or right >= len(tokens):
            return
        a, b = tokens[left], tokens[right]
        merge = None if a is None or b is None else tables.merges.get((a, b))
        if merge is not None:
            heapq.heappush(heap, (merge[0], left, merge[1], a, b))

    for left in range(len(tokens) - 1):
        consider(left)
    while heap:
        _, left, token, a, b = heapq.heappop(heap)
        right = after[left]
        stale = gone[left] or right >= len(tokens) or (tokens[left], tokens[right]) != (a, b)
        if stale:
            continue
        tokens[left] = token
        gone[right] = True
        after[left] = after[right]
        if after[right] < len(tokens):
            before[after[right]] = left
        if before[left] >= 0:
            consider(before[left])
        consider(left)
    assert tables.unknown is not None or None not in tokens
    return [
        tables.unknown if token is None else token  # type: ignore[misc]
        for token, absent in zip(tokens, gone, strict=True)
        if not absent
    ]


def well_formed(text: str | bytes) -> str:
    """Return the text, or refuse it with the first byte that does not belong."""
    try:
        return text.decode() if isinstance(text, bytes) else text.encode().decode()
    except UnicodeDecodeError as failure:
        raise BadText(f"byte {failure.start} of the text is not UTF-8", failure.start) from None
    except UnicodeEncodeError as failure:
        at = len(text[: failure.start].encode()) if isinstance(text, str) else failure.start
        raise BadText(f"byte {at} of the text is not UTF-8: a surrogate alone", at) from None
