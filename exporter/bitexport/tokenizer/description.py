"""What a tokenizer does, whatever file described it: what TEXT.md says in tables, said in words."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

from bitexport.tokenizer.pattern import Node, parse_pattern

MARK = "\u2581"
"""What a space becomes where symbols are characters."""
WORDS = f"{MARK}+[^{MARK}]*|[^{MARK}]+"


class Kind(enum.IntEnum):
    """What a symbol is before anything is merged."""

    BYTES = 1
    CHARACTERS = 2


class Prefix(enum.IntEnum):
    """Which segments get a space before them."""

    NEVER = 0
    EVERY_SEGMENT = 1
    START_OF_TEXT = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Added:
    """A token that is looked for in the text before anything else."""

    token: int
    content: str
    control: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False


@dataclasses.dataclass(frozen=True)
class Pattern:
    """A stage that cuts at the matches of a pattern."""

    node: Node
    name: str
    """How the tokenizer wrote it, for messages."""


@dataclasses.dataclass(frozen=True)
class Tail:
    """A stage that cuts off what a piece ends with, of a set of one character."""

    node: Node


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """A tokenizer, as section 3.9 of FORMAT.md can hold it."""

    kind: Kind
    tokens: Mapping[int, bytes]
    """What each token stands for, but the added ones."""
    merges: tuple[tuple[int, int, int], ...]
    """(a, b, token), by rank."""
    byte_tokens: Mapping[int, int]
    characters: Mapping[str, int] = dataclasses.field(default_factory=dict)
    token_ranks: Mapping[int, int] | None = None
    """Ranks of the tokens that merges give, where merges that give one token are equals."""
    added: tuple[Added, ...] = ()
    controls: frozenset[int] = frozenset()
    """Tokens of no text that are not looked for in text either."""
    unused: frozenset[int] = frozenset()
    unknown: int | None = None
    fuse_unknown: bool = False
    whole: Mapping[bytes, int] | None = None
    """Tokens that a piece may be as a whole, whatever its merges give."""
    nfc: bool = False
    spaces_marked: bool = False
    """Whether spaces become U+2581."""
    prefix: Prefix = Prefix.NEVER
    prefix_unless_there: bool = False
    drop_first_space: bool = False
    stages: tuple[Pattern | Tail, ...] = ()
    prefix_tokens: tuple[int, ...] = ()
    suffix_tokens: tuple[int, ...] = ()


def with_words(description: Description) -> Description:
    """Cut a text that has no stages at its words, where that changes no token: pieces are short.

    It changes none where no merge joins what comes before a space with that space.
    """
    if description.stages or not description.spaces_marked or description.whole is not None:
        return description
    tokens = description.tokens
    for a, b, _ in description.merges:
        if tokens[b].startswith(b" ") and not tokens[a].endswith(b" "):
            return description
    return dataclasses.replace(description, stages=(Pattern(parse_pattern(WORDS), WORDS),))
