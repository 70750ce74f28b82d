"""The models' own tokenizers, asked for the tokens that ours must return."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import tiktoken
from sentencepiece import SentencePieceProcessor
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as FastTokenizer

from bitexport.tokenizer.description import Description
from bitexport.tokenizer.section import tokenizer_section
from bitexport_ref.text.tables import TokenizerTables, read_tables
from bitexport_ref.text.tokenizer import Tokenizer


class Oracle(Protocol):
    """What a model's own tokenizer does."""

    name: str
    shows_control: bool
    """Whether control tokens have a text, and are found in one."""

    def encode(self, text: str) -> Sequence[int]:
        """Return the tokens of a text, with those that a text begins with."""

    def decode(self, token: int) -> str:
        """Return the text of a single token."""


class HuggingFace:
    """`tokenizers`, of a tokenizer.json."""

    name = "tokenizers"
    shows_control = True

    def __init__(self, tokenizer: FastTokenizer) -> None:
        self.tokenizer = tokenizer

    @classmethod
    def of_file(cls, path: Path) -> HuggingFace:
        """Read a tokenizer.json."""
        return cls(FastTokenizer.from_file(str(path)))

    def encode(self, text: str) -> Sequence[int]:
        """Return the tokens of a text, with those that a text begins with."""
        return self.tokenizer.encode(text).ids

    def decode(self, token: int) -> str:
        """Return the text of a token."""
        return self.tokenizer.decode([token], skip_special_tokens=False)


class SentencePiece:
    """`sentencepiece`, of a tokenizer.model; it knows no special tokens in a text."""

    name = "sentencepiece"
    shows_control = False

    def __init__(self, model: bytes, prefix: Sequence[int] = ()) -> None:
        self.processor = SentencePieceProcessor(model_proto=model)
        self.prefix = list(prefix)

    def encode(self, text: str) -> Sequence[int]:
        """Return the tokens of a text, with those that a text begins with."""
        return [*self.prefix, *self.processor.encode(text)]

    def decode(self, token: int) -> str:
        """Return the text of a token, as far as `tokenizers` agrees.

        For the unknown token sentencepiece has a sign of its own, and it leaves a first space that
        comes as a byte, which no text becomes.
        """
        apart = self.processor.is_unknown(token) or self.processor.id_to_piece(token) == "<0x20>"
        return "" if apart else self.processor.decode([token])


class Tiktoken:
    """`tiktoken`, of ranks and a pattern."""

    name = "tiktoken"
    shows_control = True

    def __init__(self, encoding: tiktoken.Encoding, prefix: Sequence[int] = ()) -> None:
        self.encoding = encoding
        self.prefix = list(prefix)

    def encode(self, text: str) -> Sequence[int]:
        """Return the tokens of a text, with those that a text begins with."""
        return [*self.prefix, *self.encoding.encode(text, allowed_special="all")]

    def decode(self, token: int) -> str:
        """Return the text of a token."""
        return self.encoding.decode_bytes([token]).decode("utf-8", "replace")


class Ours(NamedTuple):
    """A compiled tokenizer as the reference reads it."""

    section: bytes
    tables: TokenizerTables
    tokenizer: Tokenizer


def compiled(description: Description) -> Ours:
    """Write section 9 and read it back."""
    section = tokenizer_section(description, 1 << 20)
    tables = read_tables(section, 1 << 20)
    return Ours(section, tables, Tokenizer(tables))


def sentencepiece_model(
    pieces: Sequence[tuple[str, float, int]], *, kind: int = 2, fallback: bool = True,
    normalizer: bytes = b"\x18\x01\x20\x00\x28\x01",
) -> bytes:  # fmt: skip
    """Write a tokenizer.model: text, score and kind of each piece; BPE with a space before texts.

    `normalizer` says: a space is put before (3), spaces stay (4), they become U+2581 (5).
    """

    def field(number: int, message: bytes) -> bytes:
        return _varint(number << 3 | 2) + _varint(len(message)) + message

    def piece(text: str, score: float, kind: int) -> bytes:
        return (
            field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind])
        )

    trainer = b"\x18" + bytes([kind]) + _varint(35 << 3) + bytes([fallback])
    return (
        b"".join(field(1, piece(*each)) for each in pieces)
        + field(2, trainer)
        + field(3, field(1, b"identity") + normalizer)
    )


def _varint(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
PREPARED = {
    "gpt-2": GPT2,
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2]),
    "falcon": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Punctuation("contiguous"), GPT2,
            pre_tokenizers.Digits(individual_digits=False),
            pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"),
        ]
    ),
}  # fmt: skip
CONTROL = 3


def of_gguf(metadata: Mapping[str, Any]) -> Oracle:
    """Return the model's own tokenizer, put together from what a GGUF says and the family's way."""
    texts = [str(text) for text in metadata["tokenizer.ggml.tokens"]]
    kinds = [int(kind) for kind in metadata["tokenizer.ggml.token_type"]]
    if metadata["tokenizer.ggml.model"] == "llama":
        scores = [float(score) for score in metadata["tokenizer.ggml.scores"]]
        model = sentencepiece_model(list(zip(texts, scores, kinds, strict=True)))
        return SentencePiece(model, [int(metadata["tokenizer.ggml.bos_token_id"])])
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    vocabulary = {text: token for token, text in enumerate(texts)}
    tokenizer = FastTokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = PREPARED[metadata["tokenizer.ggml.pre"]]
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel()
    special = [text for text, kind in zip(texts, kinds, strict=True) if kind == CONTROL]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return HuggingFace(tokenizer)
