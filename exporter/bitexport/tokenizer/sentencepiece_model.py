"""Reads tokenizer.model, the protocol buffer that SentencePiece trains."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

from bitexport.errors import CheckpointError
from bitexport.tokenizer.description import Description
from bitexport.tokenizer.protobuf import Value, fields
from bitexport.tokenizer.refusal import refuse
from bitexport.tokenizer.scored_pieces import Frame, Piece, PieceKind, scored_pieces

FILE = "tokenizer.model"
# Fields of sentencepiece_model.proto.
PIECES, TRAINER, NORMALIZER = 1, 2, 3
TEXT, SCORE, KIND = 1, 2, 3
MODEL_TYPE, SUFFIX_SPACES, BOS, EOS = 3, 24, 41, 42
CHARACTER_MAP, DUMMY_PREFIX, REMOVE_SPACES, ESCAPE_SPACES = 2, 3, 4, 5
UNIGRAM, BPE = 1, 2
TYPES = {UNIGRAM: "Unigram", 3: "Word", 4: "Char"}


def read_sentencepiece(model: bytes, config: Mapping[str, Any]) -> Description:
    """Return the tokenizer of a model; `config` is what tokenizer_config.json says beside it."""
    try:
        whole = list(fields(model))
        trainer = dict(_inside(whole, TRAINER))
        normalizer = dict(_inside(whole, NORMALIZER))
        pieces = [_piece(value) for number, value in whole if number == PIECES]
        kind = int(trainer.get(MODEL_TYPE, UNIGRAM))
        bos, eos = _signed(trainer.get(BOS, 1)), _signed(trainer.get(EOS, 2))
    except (KeyError, ValueError, TypeError, struct.error) as error:
        raise CheckpointError(
            f"{FILE}: not a SentencePiece model: {error}", hint="copy or download the file again"
        ) from None
    if kind != BPE:
        refuse(f"is of type {TYPES.get(kind, kind)}, not BPE")
    if trainer.get(SUFFIX_SPACES):
        refuse("has spaces behind words instead of before them")
    if normalizer.get(CHARACTER_MAP):
        refuse("has a normalizer with a map of characters")
    if normalizer.get(REMOVE_SPACES, 1):
        refuse("removes spaces that follow a space")
    if not normalizer.get(ESCAPE_SPACES, 1):
        refuse("leaves spaces as they are")
    user = next((piece for piece in pieces if piece.kind is PieceKind.USER_DEFINED), None)
    if user is not None:
        refuse(f"has the user-defined piece `{user.text}`")
    unused = next((piece for piece in pieces if piece.kind is PieceKind.UNUSED), None)
    if unused is not None:
        refuse(f"has the unused piece `{unused.text}`")
    frame = Frame(
        prefixed=bool(normalizer.get(DUMMY_PREFIX, 1)),
        prefix_tokens=(bos,) if bos >= 0 and config.get("add_bos_token", True) else (),
        suffix_tokens=(eos,) if eos >= 0 and config.get("add_eos_token", False) else (),
    )
    return scored_pieces(pieces, frame)


def _inside(message: Iterable[tuple[int, Value]], wanted: int) -> Iterable[tuple[int, Any]]:
    for number, value in message:
        if number == wanted:
            yield from fields(_bytes(value))


def _piece(message: Value) -> Piece:
    said: dict[int, Any] = dict(fields(_bytes(message)))
    kind = PieceKind(said.get(KIND, PieceKind.NORMAL))
    return Piece(_bytes(said[TEXT]).decode(), float(said.get(SCORE, 0.0)), kind)


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("a number where a message is expected")
    return value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
