"""Tokens as numbers on the command line: the way around a tokenizer that is not there."""

from __future__ import annotations

from collections.abc import Sequence

import click


def read_ids(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Read "1,2,3": the callback of an option."""
    if value is None:
        return None
    words = [word.strip() for word in value.split(",")]
    if not all(word.isascii() and word.isdigit() for word in words):
        raise click.BadParameter(f"`{value}` is not a list of tokens like 1,2,3")
    return tuple(map(int, words))


def refuse_unknown(ids: Sequence[int], vocabulary: int) -> None:
    """Refuse tokens that the model does not have."""
    for token in ids:
        if token >= vocabulary:
            raise click.UsageError(f"token {token} is outside the vocabulary of {vocabulary}")
