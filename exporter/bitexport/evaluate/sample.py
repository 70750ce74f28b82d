"""The text that a build measures on: the first tokens of a file, or of a passage of ours."""

from __future__ import annotations

import dataclasses
from importlib.resources import files
from pathlib import Path

from tokenizers import Tokenizer

from bitexport.errors import CheckpointError
from bitexport.evaluate.windows import Text, read_text, tokenize
from bitexport.tokenizer.text import FILE, find_tokenizer

MOST_TOKENS = 4096
"""Of a text: the reference runs whole models on it, which takes its time."""
BUILT_IN = "a small passage that comes with bitexport"


def needed_tokenizer(checkpoint: Path, asked: str) -> Tokenizer:
    """Return the checkpoint's tokenizer, which an option asks for."""
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    tokenizer = find_tokenizer(folder)
    if tokenizer is None:
        raise CheckpointError(
            f"{folder / FILE}: no such file: {asked} is measured on a text, and a "
            "text needs a tokenizer",
            hint=f"copy the {FILE} that the model was trained with into this folder",
        )
    return tokenizer


def read_sample(path: Path | None, tokenizer: Tokenizer, vocabulary: int) -> Text:
    """Return the first tokens of a file, or of the passage."""
    if path is not None:
        text = read_text(path, tokenizer, vocabulary, MOST_TOKENS)
        return dataclasses.replace(text, name=path.name)  # a bundle does not say where it was built
    passage = files(__package__).joinpath("passage.txt").read_text(encoding="utf-8")
    return tokenize(BUILT_IN, passage, tokenizer, vocabulary, MOST_TOKENS)


def advice(text: str) -> str:
    """Return what to add where a figure comes from our passage."""
    if text != BUILT_IN:
        return ""
    return "; a text of the model's own domain says more: --eval-text FILE"
