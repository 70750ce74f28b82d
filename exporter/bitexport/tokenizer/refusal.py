"""What cannot be expressed is refused by one sentence that names it."""

from __future__ import annotations

from typing import Never

from bitexport.errors import CheckpointError

WAY_OUT = (
    "build with --text none: the model is then given numbers of tokens; or put a tokenizer.json "
    "beside the checkpoint"
)


def refuse(what: str) -> Never:
    """Refuse a tokenizer for something it does."""
    raise CheckpointError(f"the tokenizer {what}, which is not supported", hint=WAY_OUT)


def damaged(what: str) -> Never:
    """Refuse a tokenizer that contradicts itself."""
    raise CheckpointError(
        f"the tokenizer {what}",
        hint="copy or download the model's tokenizer again; or build with --text none: the model "
        "is then given numbers of tokens",
    )
