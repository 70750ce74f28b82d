"""Byte pair encoding of one piece: only to find out which tokens their own merges do not give."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

Merges = Mapping[tuple[int, int], tuple[int, int]]
"""(rank, token) by neighbours."""


def merged(symbols: Sequence[int], merges: Merges) -> list[int]:
    """Return the tokens of a piece: the lowest rank first, of equal ones the leftmost."""
    tokens = list(symbols)
    while len(tokens) > 1:
        found = [
            (*merges[pair], at)
            for at, pair in enumerate(itertools.pairwise(tokens))
            if pair in merges
        ]
        if not found:
            break
        _, token, at = min(found, key=lambda each: (each[0], each[2]))
        tokens[at : at + 2] = [token]
    return tokens
