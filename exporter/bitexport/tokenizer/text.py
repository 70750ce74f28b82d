"""The model's own tokenizer.json, run by the Hugging Face `tokenizers` package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from bitexport.errors import CheckpointError

FILE = "tokenizer.json"


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer of a checkpoint or bundle."""
    path = folder / FILE
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such file: the model has no tokenizer",
            hint="copy the tokenizer.json that the model was trained with into this folder",
        )
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception for every fault of the file
        raise CheckpointError(
            f"{path}: not a tokenizer: {error}",
            hint="copy the tokenizer.json that the model was trained with into this folder",
        ) from None


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the tokens of a text, with the special tokens that a prompt begins with."""
    return list(tokenizer.encode(text).ids)


def decode_stream(
    tokenizer: Tokenizer, prompt: Iterable[int], tokens: Iterable[int]
) -> Iterator[str]:
    """Yield the text of a prompt, then pieces of what follows; complete characters only."""
    stream = DecodeStream(skip_special_tokens=True)
    pieces = [stream.step(tokenizer, token) or "" for token in prompt]
    yield "".join(pieces)
    for token in tokens:
        piece = stream.step(tokenizer, token)
        if piece:
            yield piece
