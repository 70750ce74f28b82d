"""What the runner printed: facts, one a line (targets/runtime/runner/runner.c)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from bitexport.emit.text_rules import damage
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
    stopped: str | None = None
    """What ended a run before its `end`; what it had computed until then stands above."""


@dataclasses.dataclass(frozen=True)
class Said:
    """What every run says, of a language model or of a network."""

    available: tuple[str, ...]
    used: str
    arena_bytes: int
    stopped: str | None
    lines: tuple[list[str], ...]
    """The words of each line."""


def read(text: str, ending: str = "") -> Said:
    """Read a run.  One that never opened a session, for whatever reason, is a MismatchError.

    A run without `end` stopped half-way: it said so itself (`status`), or `ending` says how.
    """
    available: tuple[str, ...] = ()
    used, arena = "", 0
    lines = text[: text.rfind("\n") + 1].splitlines()  # a program that is killed stops anywhere
    words = tuple(line.split() for line in lines)
    for line in words:
        match line:
            case ["isa", "available", *names]:
                available = tuple(names)
            case ["isa", "used", name]:
                used = name
            case ["arena", count]:
                arena = int(count)
    last = lines[-1] if lines else "nothing"
    said = last if last.startswith("status ") else ending or f"its last word was `{last}`"
    if lines[:1] != ["runner 1"] or not used:
        raise MismatchError(f"the runner did not start: {said}")
    stopped = None if last == "end" and not ending else said
    return Said(available, used, arena, stopped, words)


def parse(text: str, ending: str = "") -> Observed:
    """Read a run of a language model, as `read` does."""
    said = read(text, ending)
    digests: dict[tuple[int, int], str] = {}
    logits: dict[int, str] = {}
    tokens: list[int] = []
    dumped: bytes | None = None
    tested: str | None = None
    for line in said.lines:
        match line:
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
    return Observed(
        said.available, said.used, said.arena_bytes, digests, logits, tuple(tokens), dumped, tested,
        said.stopped,
    )  # fmt: skip


def damaged_text(text: str) -> str | None:
    """Say which section of text a run found damaged, or None."""
    for line in text.splitlines():
        match line.split():
            case ["status", *_, "rule", rule, "record", record]:
                return damage(int(rule), int(record))
    return None
