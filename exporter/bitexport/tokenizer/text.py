"""The model's own tokenizer.json, run by the Hugging Face `tokenizers` package."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from bitexport.errors import BundleError, CheckpointError

FILE = "tokenizer.json"
FIXED_TOKENS, FIXED_STEP = 8, 7919  # a prime, so that they are spread over any vocabulary


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer of a bundle that is to read or write text."""
    tokenizer = find_tokenizer(folder)
    if tokenizer is None:
        raise BundleError(
            f"{folder}: holds no {FILE}, so the model understands no text, only numbers of tokens",
            hint="give --ids 1,2,3 where there is such an option; or put the model's "
            f"{FILE} beside the checkpoint and build the bundle again",
        )
    return tokenizer


def find_tokenizer(folder: Path) -> Tokenizer | None:
    """Read the tokenizer of a checkpoint or bundle; None when it has none, as many a GGUF."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception for every fault of the file
        raise CheckpointError(
            f"{path}: not a tokenizer: {error}",
            hint="copy the tokenizer.json that the model was trained with into this folder",
        ) from None


def fixed_tokens(vocabulary: int, bos: int | None) -> list[int]:
    """Return a prompt for a model without tokenizer: BOS if it has one, then every 7919th token.

    The i-th of those eight is 7919 i modulo the size of the vocabulary, i from 1.
    """
    spread = [FIXED_STEP * i % vocabulary for i in range(1, FIXED_TOKENS + 1)]
    return [*([] if bos is None else [bos]), *spread]


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the tokens of a text, with the special tokens that a prompt begins with."""
    return list(tokenizer.encode(text).ids)
