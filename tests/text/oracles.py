"""The models' own tokenizers, asked for the tokens that ours must return."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import tiktoken
from sentencepiece import SentencePieceProcessor
from tokenizers import (
    AddedToken,
    Regex,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers import Tokenizer as FastTokenizer

from bitexport.tokenizer.description import Description
from bitexport.tokenizer.section import tokenizer_section
from bitexport_ref.text.stream import decode
from bitexport_ref.text.tables import TokenizerTables, read_tables
from bitexport_ref.text.tokenizer import Tokenizer

PARALLEL = "TOKENIZERS_PARALLELISM"


class Subject(Protocol):
    """A compiled tokenizer, whoever walks its tables."""

    def encode(self, text: str, *, special: bool) -> Sequence[int]:
        """Return the tokens of a text, with those that a text begins with."""

    def decode(self, tokens: Sequence[int], *, show_control: bool) -> str:
        """Return the text of tokens."""


class Oracle(Protocol):
    """What a model's own tokenizer does."""

    name: str
    shows_control: bool
    """Whether control tokens have a text, and are found in one."""

    def encode(self, text: str) -> Sequence[int]:
        """Return the tokens of a text, with those that a text begins with."""

    def decode(self, token: int) -> str:
        """Return the text of a single token."""

    def seconds(self, texts: Sequence[str]) -> float:
        """Return the processor time of this thread that it takes to encode texts."""


class HuggingFace:
    """`tokenizers`, of a tokenizer.json."""

    name = "tokenizers"
    shows_control = True

    def __init__(self, tokenizer: FastTokenizer, prefix: Sequence[int] = ()) -> None:
        self.tokenizer = tokenizer
        self.prefix = list(prefix)
        self.added = tokenizer.get_added_tokens_decoder()

    @classmethod
    def of_file(cls, path: Path) -> HuggingFace:
        """Read a tokenizer.json."""
        return cls(FastTokenizer.from_file(str(path)))

    def encode(self, text: str) -> Sequence[int]:
        """Return the tokens of a text, with those that a text begins with."""
        return [*self.prefix, *self.tokenizer.encode(text).ids]

    def decode(self, token: int) -> str:
        """Return the text of a token.

        Of an added token whose letters are GPT-2's for bytes, `tokenizers` makes those bytes, which
        are no text; what counts is what is written.
        """
        text = self.tokenizer.decode([token], skip_special_tokens=False)
        return self.added[token].content if "\ufffd" in text and token in self.added else text

    def seconds(self, texts: Sequence[str]) -> float:
        """Return the processor time of this thread, without offsets and on one core."""
        with one_thread():
            start = time.thread_time()
            self.tokenizer.encode_batch_fast(list(texts))
            return time.thread_time() - start


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

    def seconds(self, texts: Sequence[str]) -> float:
        """Return the processor time of this thread."""
        start = time.thread_time()
        for text in texts:
            self.processor.encode(text)
        return time.thread_time() - start


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

    def seconds(self, texts: Sequence[str]) -> float:
        """Return the processor time of this thread."""
        start = time.thread_time()
        for text in texts:
            self.encoding.encode(text, allowed_special="all")
        return time.thread_time() - start


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep `tokenizers` from using more cores than this thread's."""
    before = os.environ.get(PARALLEL)
    os.environ[PARALLEL] = "false"
    try:
        yield
    finally:
        del os.environ[PARALLEL]
        if before is not None:
            os.environ[PARALLEL] = before


class Ours(NamedTuple):
    """A compiled tokenizer as the reference reads it."""

    section: bytes
    tables: TokenizerTables
    tokenizer: Tokenizer

    def encode(self, text: str, *, special: bool) -> Sequence[int]:
        """Return the tokens of a text, with those that a text begins with."""
        return self.tokenizer.encode(text, special=special)

    def decode(self, tokens: Sequence[int], *, show_control: bool) -> str:
        """Return the text of tokens."""
        return decode(self.tables, tokens, show_control=show_control)


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
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
DIGITS = pre_tokenizers.Digits(individual_digits=True)


def _cut(*parts: str | pre_tokenizers.PreTokenizer) -> pre_tokenizers.PreTokenizer:
    """Return pre-tokenizers in a row; a text is a pattern whose matches are pieces."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(part), "isolated") if isinstance(part, str) else part
            for part in parts
        ]
    )


# As the models' own tokenizer.json have them, by `tokenizer.ggml.pre`.
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK_LLM_LETTERS = (
    "\\s?["
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-"
    "\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1"
    "\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-"
    "\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15"
    "\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d"
    "\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb"
    "\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d"
    "\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183"
    "\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b"
    "\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-"
    "\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb"
    "\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
    "]+"
)
PREPARED = {
    "gpt-2": GPT2,
    "olmo": GPT2,
    "mpt": GPT2,
    "llama-bpe": _cut(LLAMA3_PATTERN, BYTES),
    "qwen2": _cut(LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}"), BYTES),
    "smollm": _cut(DIGITS, GPT2),
    "starcoder": _cut(DIGITS, GPT2),
    "falcon": _cut(
        pre_tokenizers.Punctuation("contiguous"), GPT2,
        pre_tokenizers.Digits(individual_digits=False), "[0-9][0-9][0-9]",
    ),
    "deepseek-llm": _cut(
        "[\r\n]", DEEPSEEK_LLM_LETTERS,
        r"\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$",
        "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", DIGITS, BYTES,
    ),
    "deepseek-coder": _cut(
        "[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
        DIGITS, BYTES,
    ),
}  # fmt: skip
WITH_NFC = {"olmo", "mpt", "qwen2"}
WHOLE_PIECES = {"llama-bpe"}
BEGINNING = {"llama-bpe"}
CONTROL, USER_DEFINED = 3, 4


def of_gguf(metadata: Mapping[str, Any]) -> Oracle:
    """Return the model's own tokenizer, put together from what a GGUF says and the family's way."""
    texts = [str(text) for text in metadata["tokenizer.ggml.tokens"]]
    kinds = [int(kind) for kind in metadata["tokenizer.ggml.token_type"]]
    if metadata["tokenizer.ggml.model"] == "llama":
        scores = [float(score) for score in metadata["tokenizer.ggml.scores"]]
        model = sentencepiece_model(list(zip(texts, scores, kinds, strict=True)))
        return SentencePiece(model, [int(metadata["tokenizer.ggml.bos_token_id"])])
    name = metadata["tokenizer.ggml.pre"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    vocabulary = {text: token for token, text in enumerate(texts)}
    tokenizer = FastTokenizer(
        models.BPE(vocab=vocabulary, merges=merges, ignore_merges=name in WHOLE_PIECES)
    )
    if name in WITH_NFC:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = PREPARED[name]
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel()
    added = {
        wanted: [text for text, kind in zip(texts, kinds, strict=True) if kind == wanted]
        for wanted in (CONTROL, USER_DEFINED)
    }
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in added[CONTROL]]
    )
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added[USER_DEFINED]])
    begins = metadata.get("tokenizer.ggml.add_bos_token", name in BEGINNING)
    begin = int(metadata.get("tokenizer.ggml.bos_token_id", 0))
    return HuggingFace(tokenizer, [begin] if begins else [])
