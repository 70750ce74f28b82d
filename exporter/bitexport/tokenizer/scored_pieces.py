"""SentencePiece's BPE: pieces with scores, whatever file holds them.

Of all neighbours that together are a piece, those of the highest score are merged, of equal scores
the leftmost: so merges that give one piece have one rank.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bitexport.tokenizer.byte_level import NEVER_IN_UTF8
from bitexport.tokenizer.description import MARK, Added, Description, Kind, Prefix, with_words
from bitexport.tokenizer.refusal import damaged, refuse

BYTE_TOKENS = {f"<0x{byte:02X}>": byte for byte in range(256)}


class PieceKind(enum.IntEnum):
    """What SentencePiece and GGUF call the kinds of pieces."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Piece(NamedTuple):
    """A token as SentencePiece has it."""

    text: str
    score: float
    kind: PieceKind


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """What is put around a text."""

    prefixed: bool = True
    """Whether a space is put before a text."""
    prefix_tokens: tuple[int, ...] = ()
    suffix_tokens: tuple[int, ...] = ()


def scored_pieces(pieces: Sequence[Piece], frame: Frame) -> Description:
    """Return the tokenizer that pieces and their scores make."""
    normal = _numbers(pieces, PieceKind.NORMAL)
    byte_tokens = _byte_tokens(pieces)
    of_byte = {token: bytes([byte]) for byte, token in byte_tokens.items()}
    scores = sorted({piece.score for piece in pieces}, reverse=True)
    rank = {score: at for at, score in enumerate(scores)}
    unknown = [token for token, piece in enumerate(pieces) if piece.kind is PieceKind.UNKNOWN]
    if len(unknown) > 1:
        damaged(f"has two unknown tokens, {unknown[0]} and {unknown[1]}")
    for text in normal:
        strange = next((c for c in text if len(text) > 1 and c not in normal), None)
        if strange is not None:
            refuse(f"has the piece `{text}` and none for its character `{strange}`")
    merges = sorted(_merges(normal), key=lambda each: (rank[pieces[each[2]].score], each))
    return with_words(
        Description(
            kind=Kind.CHARACTERS,
            tokens={
                token: of_byte.get(token, piece.text.replace(MARK, " ").encode())
                for token, piece in enumerate(pieces)
            },
            merges=tuple(merges),
            token_ranks={token: rank[piece.score] for token, piece in enumerate(pieces)},
            byte_tokens=byte_tokens,
            characters={text: token for text, token in normal.items() if len(text) == 1},
            added=tuple(
                Added(token=token, content=text, control=kind is not PieceKind.USER_DEFINED)
                for token, (text, _, kind) in enumerate(pieces)
                if kind in {PieceKind.CONTROL, PieceKind.USER_DEFINED, PieceKind.UNKNOWN} and text
            ),
            unused=frozenset(
                token for token, piece in enumerate(pieces) if piece.kind is PieceKind.UNUSED
            ),
            unknown=unknown[0] if unknown else None,
            fuse_unknown=True,
            spaces_marked=True,
            prefix=Prefix.EVERY_SEGMENT if frame.prefixed else Prefix.NEVER,
            drop_first_space=frame.prefixed,
            prefix_tokens=frame.prefix_tokens,
            suffix_tokens=frame.suffix_tokens,
        )
    )


def _numbers(pieces: Sequence[Piece], kind: PieceKind) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for token, piece in enumerate(pieces):
        if piece.kind is kind:
            if piece.text in found:
                damaged(f"has the piece `{piece.text}` twice")
            found[piece.text] = token
    return found


def _byte_tokens(pieces: Sequence[Piece]) -> Mapping[int, int]:
    found: dict[int, int] = {}
    for text, token in _numbers(pieces, PieceKind.BYTE).items():
        if text not in BYTE_TOKENS:
            damaged(f"has the piece `{text}` for a byte")
        found[BYTE_TOKENS[text]] = token
    missing = [byte for byte in range(256) if byte not in found and byte not in NEVER_IN_UTF8]
    if found and missing:
        refuse(f"falls back to bytes and has no token for the byte {missing[0]:#04x}")
    return found


def _merges(normal: Mapping[str, int]) -> Iterator[tuple[int, int, int]]:
    for text, token in normal.items():
        for cut in range(1, len(text)):
            first, second = normal.get(text[:cut]), normal.get(text[cut:])
            if first is not None and second is not None:
                yield first, second, token
