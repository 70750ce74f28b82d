"""A text as a model is asked to predict it: consecutive windows, each a sequence of its own."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bitexport.errors import CheckpointError


@dataclasses.dataclass(frozen=True)
class Window:
    """Tokens of one fresh session, of which those from `first` on are predicted."""

    tokens: tuple[int, ...]
    first: int
    predicted_bytes: int
    """Bytes of the text, in UTF-8, that the predicted tokens stand for."""

    @property
    def predicted(self) -> int:
        """How many tokens are predicted."""
        return len(self.tokens) - self.first


@dataclasses.dataclass(frozen=True)
class Text:
    """A text file, tokenized whole."""

    name: str
    sha256: str
    prefix: tuple[int, ...]
    """What the tokenizer puts before a text, such as a begin token: before every window, here."""
    tokens: tuple[int, ...]
    token_bytes: tuple[int, ...]

    def windows(self, context: int) -> list[Window]:
        """Cut the text into windows of `context` tokens, the prefix among them; none overlap.

        Every token is predicted once, but for the first of a window without prefix: nothing comes
        before it.  A last window that would predict nothing is left out.
        """
        step = context - len(self.prefix)
        first = max(1, len(self.prefix))
        if context <= first:
            raise CheckpointError(
                f"{self.name}: a window of {context} tokens predicts none: the tokenizer begins "
                f"every text with {len(self.prefix)}",
                hint=f"use --context {first + 1} or more",
            )
        unpredicted = first - len(self.prefix)
        return [
            Window(
                tokens=(*self.prefix, *self.tokens[start : start + step]),
                first=first,
                predicted_bytes=sum(self.token_bytes[start + unpredicted : start + step]),
            )
            for start in range(0, len(self.tokens) - unpredicted, step)
        ]


def read_text(path: Path, tokenizer: Tokenizer, vocabulary: int, most: int | None = None) -> Text:
    """Read a UTF-8 file and tokenize it whole; with `most`, keep its first tokens only."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read: {error.strerror}", hint="give a text file in UTF-8"
        ) from error
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{path}: is no text in UTF-8: byte {error.start} is {data[error.start]:#04x}",
            hint="give a text file in UTF-8",
        ) from error
    return tokenize(str(path), text, tokenizer, vocabulary, most)


def tokenize(
    name: str, text: str, tokenizer: Tokenizer, vocabulary: int, most: int | None = None
) -> Text:
    """Tokenize a text whole, whatever length the tokenizer would cut a training example to."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encoding = tokenizer.encode(text)
    ids, offsets = encoding.ids, encoding.offsets  # each makes a new list of the whole text
    added = np.array(encoding.special_tokens_mask, np.bool_)
    prefix = ids if added.all() else ids[: int(np.argmin(added))]
    own = np.flatnonzero(~added)[:most].tolist()
    tokens = [ids[index] for index in own]
    if len(tokens) + len(prefix) <= max(1, len(prefix)):
        raise CheckpointError(
            f"{name}: holds {len(tokens)} tokens, of which none can be predicted",
            hint="give a longer text, or more --tokens",
        )
    if outside := [token for token in (*prefix, *tokens) if token >= vocabulary]:
        raise CheckpointError(
            f"{name}: the tokenizer gives token {outside[0]}, the model knows {vocabulary}",
            hint="the tokenizer.json in the bundle belongs to another model",
        )
    ends = [offsets[index][1] for index in own]
    return Text(
        name=name,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        prefix=tuple(prefix),
        tokens=tuple(tokens),
        token_bytes=tuple(_bytes_up_to(text, ends).tolist()),
    )


def _bytes_up_to(text: str, ends: Sequence[int]) -> NDArray[np.int64]:
    """Return for tokens that end at these characters how many bytes each adds to those before.

    Tokens that share a character (bytes of one) add nothing after the first; what a tokenizer drops
    between tokens counts for the next.
    """
    points = np.frombuffer(text.encode("utf-32-le"), "<u4")
    sizes = 1 + sum((points >= limit).astype(np.int64) for limit in (0x80, 0x800, 0x10000))
    before = np.concatenate([[0], np.cumsum(sizes)])
    reached = np.maximum.accumulate(np.array(ends, np.int64))
    return np.diff(before[reached], prepend=0)
