"""What the runner printed: facts, one a line (targets/runtime/runner/runner.c)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from bitexport.errors import MismatchError


@dataclasses.dataclass(frozen=True)
class Observed:
    """One run on one core."""

    available: tuple[str, ...]
    used: str
    arena_bytes: int
    digests: Mapping[tuple[int, int], str]
    """By op output and position."""
    logits: Mapping[int, str]
    tokens: tuple[int, ...]
    dumped: bytes | None = None
    self_test: str | None = None


def parse(text: str) -> Observed:
    """Read a run; text that does not end with `end` is a run that stopped half-way."""
    available: tuple[str, ...] = ()
    used, arena = "", 0
    digests: dict[tuple[int, int], str] = {}
    logits: dict[int, str] = {}
    tokens: list[int] = []
    dumped: bytes | None = None
    tested: str | None = None
    lines = text.splitlines()
    if not lines or lines[0] != "runner 1" or lines[-1] != "end":
        last = lines[-1] if lines else "nothing"
        raise MismatchError(f"the runner stopped half-way; it last said `{last}`")
    for line in lines:
        match line.split():
            case ["isa", "available", *names]:
                available = tuple(names)
            case ["isa", "used", name]:
                used = name
            case ["arena", count]:
                arena = int(count)
            case ["op", output, first, *found]:
                for row, digest in enumerate(found):
                    digests[int(output), int(first) + row] = digest
            case ["logits", position, digest]:
                logits[int(position)] = digest
            case ["token", token]:
                tokens.append(int(token))
            case ["dump", _, _, data]:
                dumped = bytes.fromhex(data)
            case ["self-test", *words]:
                tested = " ".join(words)
    return Observed(available, used, arena, digests, logits, tuple(tokens), dumped, tested)
