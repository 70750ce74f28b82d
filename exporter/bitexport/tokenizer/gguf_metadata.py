"""Reads the tokenizer that a GGUF file describes in its metadata."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from bitexport.tokenizer.byte_level import byte_level, with_digits_of_bytes
from bitexport.tokenizer.description import Added, Description
from bitexport.tokenizer.known_patterns import manner
from bitexport.tokenizer.refusal import damaged, refuse
from bitexport.tokenizer.scored_pieces import Frame, Piece, PieceKind, scored_pieces

MODEL = "tokenizer.ggml.model"
TOKENS = "tokenizer.ggml.tokens"
BYTE_LEVEL, SENTENCEPIECE = "gpt2", "llama"


def read_gguf_tokenizer(metadata: Mapping[str, Any]) -> Description | None:
    """Return the tokenizer; None where the metadata has none."""
    model = metadata.get(MODEL)
    if model is None:
        return None
    texts = _list(metadata, TOKENS, str)
    if texts is None:
        damaged(f"has `{MODEL}` and no `{TOKENS}`")
    kinds = _kinds(metadata, len(texts))
    if model == SENTENCEPIECE:
        return _sentencepiece(metadata, texts, kinds)
    if model == BYTE_LEVEL:
        return _byte_level(metadata, texts, kinds)
    return refuse(f"is of the model `{model}`")


def _sentencepiece(
    metadata: Mapping[str, Any], texts: Sequence[str], kinds: Sequence[PieceKind]
) -> Description:
    scores = _list(metadata, "tokenizer.ggml.scores", float)
    if scores is None or len(scores) != len(texts):
        damaged("has pieces without scores")
    if metadata.get("tokenizer.ggml.precompiled_charsmap") is not None:
        refuse("has a normalizer with a map of characters")
    if metadata.get("tokenizer.ggml.remove_extra_whitespaces"):
        refuse("removes spaces that follow a space")
    pieces = [Piece(*each) for each in zip(texts, scores, kinds, strict=True)]
    before, behind = _fixed_tokens(metadata, begins=True)
    prefixed = bool(metadata.get("tokenizer.ggml.add_space_prefix", True))
    frame = Frame(prefixed=prefixed, prefix_tokens=before, suffix_tokens=behind)
    return scored_pieces(pieces, frame)


def _byte_level(
    metadata: Mapping[str, Any], texts: Sequence[str], kinds: Sequence[PieceKind]
) -> Description:
    name = metadata.get("tokenizer.ggml.pre")
    if name is None:
        refuse("does not say how it cuts text (`tokenizer.ggml.pre`)")
    family = manner(str(name))
    if family is None:
        refuse(f"cuts text as `{name}` does (`tokenizer.ggml.pre`)")
    if metadata.get("tokenizer.ggml.add_space_prefix"):
        refuse("puts a space before a text of bytes")
    merges = _list(metadata, "tokenizer.ggml.merges", str)
    if merges is None:
        damaged("has no `tokenizer.ggml.merges`")
    vocabulary: dict[str, int] = {}
    for token, (text, kind) in enumerate(zip(texts, kinds, strict=True)):
        if kind is PieceKind.UNUSED:
            continue
        if text in vocabulary:
            damaged(f"has the token `{text}` twice")
        vocabulary[text] = token
    plain = byte_level(vocabulary, merges, family.whole_pieces)
    before, behind = _fixed_tokens(metadata, begins=family.begins)
    apart = {PieceKind.CONTROL, PieceKind.USER_DEFINED, PieceKind.UNKNOWN}
    described = dataclasses.replace(
        plain,
        added=tuple(
            Added(token=token, content=text, control=kind is not PieceKind.USER_DEFINED)
            for token, (text, kind) in enumerate(zip(texts, kinds, strict=True))
            if kind in apart and text
        ),
        unused=frozenset(token for token, kind in enumerate(kinds) if kind is PieceKind.UNUSED),
        tokens=dict(plain.tokens) | {
            token: b"" for token, kind in enumerate(kinds) if kind is PieceKind.UNUSED
        },
        nfc=family.nfc, stages=family.stages, prefix_tokens=before, suffix_tokens=behind,
    )  # fmt: skip
    return with_digits_of_bytes(described) if family.digits_of_bytes else described


def _kinds(metadata: Mapping[str, Any], count: int) -> list[PieceKind]:
    said = _list(metadata, "tokenizer.ggml.token_type", int)
    if said is None:
        return [PieceKind.NORMAL] * count
    if len(said) != count:
        damaged(f"has {count} tokens and {len(said)} kinds of tokens")
    known = {int(kind) for kind in PieceKind}
    strange = next((kind for kind in said if kind not in known), None)
    if strange is not None:
        damaged(f"has a token of kind {strange}")
    return [PieceKind(kind) for kind in said]


def _fixed_tokens(
    metadata: Mapping[str, Any], *, begins: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    sides = []
    for side, default in (("bos", begins), ("eos", False)):
        token = metadata.get(f"tokenizer.ggml.{side}_token_id")
        wanted = metadata.get(f"tokenizer.ggml.add_{side}_token", default and token is not None)
        if wanted and not isinstance(token, int):
            damaged(f"adds a token to texts (`add_{side}_token`) and does not say which")
        sides.append((token,) if wanted and isinstance(token, int) else ())
    return sides[0], sides[1]


def _list(metadata: Mapping[str, Any], key: str, kind: type) -> list[Any] | None:
    found = metadata.get(key)
    if found is None:
        return None
    try:
        return [kind(each) for each in found]
    except (TypeError, ValueError):
        damaged(f"has a `{key}` that is no list")
