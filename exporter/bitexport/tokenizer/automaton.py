"""Patterns become deterministic automata over classes of characters (FORMAT.md, section 3.9).

A thread is a place in the pattern that waits for a character.  A state is the threads that are
alive, the preferred first; what stands behind a match is dropped, so the match that is found is
the one that a backtracking matcher finds first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bitexport.errors import CheckpointError
from bitexport.tokenizer.characters import CODE_POINTS, Characters
from bitexport.tokenizer.pattern import Ahead, Either, Node, One, Repeat, Row
from bitexport.tokenizer.refusal import WAY_OUT

DEAD, START = 0, 1
ENDS_HERE = 0x8000
MOST_STATES = 0x8000
MOST_CLASSES = 255


@dataclasses.dataclass(frozen=True)
class _Jump:
    targets: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Take:
    classes: frozenset[int]


@dataclasses.dataclass(frozen=True)
class _Check:
    classes: frozenset[int]


@dataclasses.dataclass(frozen=True)
class _Found:
    pass


_Step = _Jump | _Take | _Check | _Found


@dataclasses.dataclass(frozen=True, eq=False)
class Partition:
    """Every code point's class: characters of one class belong to the same sets."""

    classes: NDArray[np.uint8]
    count: int

    def members(self, characters: Characters) -> frozenset[int]:
        """Return the classes that a set consists of."""
        return frozenset(np.unique(self.classes[characters]).tolist())


def sets_of(node: Node) -> Iterator[Characters]:
    """Yield all sets of characters of a pattern."""
    match node:
        case One() | Ahead():
            yield node.characters
        case Row():
            for part in node.parts:
                yield from sets_of(part)
        case Either():
            for branch in node.branches:
                yield from sets_of(branch)
        case Repeat():
            yield from sets_of(node.body)


def partition(sets: Sequence[Characters]) -> Partition:
    """Return the coarsest partition that all sets are unions of, numbered by first code point."""
    classes = np.zeros(CODE_POINTS, np.int64)
    for characters in sets:
        _, first, inverse = np.unique(
            2 * classes + characters, return_index=True, return_inverse=True
        )
        classes = np.argsort(np.argsort(first))[inverse]
    count = int(classes.max()) + 1
    if count > MOST_CLASSES:
        raise CheckpointError(
            f"the tokenizer's patterns tell {count} classes of characters apart, "
            f"the tables hold {MOST_CLASSES}",
            hint=WAY_OUT,
        )
    return Partition(classes.astype(np.uint8), count)


def compile_pattern(node: Node, parts: Partition, name: str) -> NDArray[np.uint16]:
    """Return the transitions, (states, classes + 1); `name` is the pattern for messages."""
    program: list[_Step] = []
    _Assembler(program, parts, name).add(node)
    program.append(_Found())
    rows = _minimal(_determinized(program, parts.count, name))
    _refuse_empty(rows, name)
    _refuse_endless(rows, name)
    return rows


def always_matches(rows: NDArray[np.uint16]) -> bool:
    """Return whether a match begins at every character, so that nothing lies between matches."""
    waiting = set(rows[START, :-1].tolist())
    seen: set[int] = set()
    while waiting:
        state = waiting.pop()
        if state & ENDS_HERE or state in seen:
            continue
        if state == DEAD:
            return False
        seen.add(state)
        waiting |= set(rows[state].tolist())
    return True


class _Assembler:
    """Turns a tree into steps; each part falls through to what is added behind it."""

    def __init__(self, program: list[_Step], parts: Partition, name: str) -> None:
        self.program = program
        self.parts = parts
        self.name = name

    def add(self, node: Node, behind: tuple[Node, ...] = ()) -> None:
        """Add the steps of a node; `behind` is what follows it in the pattern."""
        match node:
            case One():
                self.program.append(_Take(self.parts.members(node.characters)))
            case Ahead():
                end = frozenset([self.parts.count] if node.end else [])
                self.program.append(_Check(self.parts.members(node.characters) | end))
            case Row():
                for at, part in enumerate(node.parts):
                    self.add(part, (*node.parts[at + 1 :], *behind))
            case Either():
                self._either(node, behind)
            case Repeat():
                if node.possessive:
                    self._check_possessive(node, behind)
                self._repeat(node, behind)

    def _either(self, node: Either, behind: tuple[Node, ...]) -> None:
        fork = len(self.program)
        self.program.append(_Jump(()))
        starts, ends = [], []
        for branch in node.branches:
            starts.append(len(self.program))
            self.add(branch, behind)
            ends.append(len(self.program))
            self.program.append(_Jump(()))
        self.program[fork] = _Jump(tuple(starts))
        for end in ends:
            self.program[end] = _Jump((len(self.program),))

    def _repeat(self, node: Repeat, behind: tuple[Node, ...]) -> None:
        around = (Repeat(node.body, 0, node.most, node.greedy), *behind)
        for _ in range(node.least):
            self.add(node.body, around)
        if node.most is None:
            loop = len(self.program)
            self.program.append(_Jump(()))
            self.add(node.body, around)
            self.program.append(_Jump((loop,)))
            self._fork(loop, node.greedy, len(self.program))
            return
        forks = []
        for _ in range(node.most - node.least):
            forks.append(len(self.program))
            self.program.append(_Jump(()))
            self.add(node.body, around)
        for fork in forks:
            self._fork(fork, node.greedy, len(self.program))

    def _fork(self, at: int, greedy: bool, out: int) -> None:
        self.program[at] = _Jump((at + 1, out) if greedy else (out, at + 1))

    def _check_possessive(self, node: Repeat, behind: tuple[Node, ...]) -> None:
        """Refuse a possessive repetition that gives up matches its greedy twin would find.

        The twins agree where what follows cannot fail, or cannot begin with what is repeated.
        """
        rest: list[_Step] = []
        _Assembler(rest, self.parts, self.name).add(Row(tuple(map(_as_greedy, behind))))
        rest.append(_Found())
        ends = all(
            any(isinstance(rest[at], _Found) for at in _closure(rest, (0,), each))
            for each in range(self.parts.count + 1)
        )
        if ends:
            return
        if isinstance(node.body, One):
            again = self.parts.members(node.body.characters)
            if not any(self._goes_on(rest, each) for each in again):
                return
        raise CheckpointError(
            f"the pattern `{self.name}` has a possessive repetition that is not the same as a "
            "greedy one, which is not supported",
            hint=WAY_OUT,
        )

    @staticmethod
    def _goes_on(rest: Sequence[_Step], each: int) -> bool:
        for at in _closure(rest, (0,), each):
            step = rest[at]
            if isinstance(step, _Found) or (isinstance(step, _Take) and each in step.classes):
                return True
        return False


def _as_greedy(node: Node) -> Node:
    match node:
        case Row():
            return Row(tuple(map(_as_greedy, node.parts)))
        case Either():
            return Either(tuple(map(_as_greedy, node.branches)))
        case Repeat():
            return Repeat(_as_greedy(node.body), node.least, node.most, node.greedy)
        case One() | Ahead():
            return node


def _closure(program: Sequence[_Step], threads: Sequence[int], ahead: int) -> list[int]:
    """Return the places that take a character or have found, by preference.

    `ahead` is the class of the next character; the number of classes stands for the end.
    """
    found: list[int] = []
    seen: set[int] = set()
    waiting = list(reversed(threads))
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        step = program[at]
        match step:
            case _Jump():
                waiting.extend(reversed(step.targets))
            case _Check():
                if ahead in step.classes:
                    waiting.append(at + 1)
            case _Take() | _Found():
                found.append(at)
    return found


def _determinized(program: Sequence[_Step], classes: int, name: str) -> NDArray[np.uint16]:
    numbers: dict[tuple[int, ...], int] = {(): DEAD, (0,): START}
    order: list[tuple[int, ...]] = [(), (0,)]
    rows: list[list[int]] = []
    while len(rows) < len(order):
        threads = order[len(rows)]
        row = []
        for ahead in range(classes + 1):
            onward: list[int] = []
            ends = 0
            for at in _closure(program, threads, ahead):
                step = program[at]
                if isinstance(step, _Found):
                    ends = ENDS_HERE
                    break
                if isinstance(step, _Take) and ahead in step.classes and at + 1 not in onward:
                    onward.append(at + 1)
            state = tuple(onward)
            if state not in numbers:
                numbers[state] = len(order)
                order.append(state)
                if len(order) > MOST_STATES:
                    raise CheckpointError(
                        f"the pattern `{name}` needs more than {MOST_STATES} states",
                        hint=WAY_OUT,
                    )
            row.append(numbers[state] | ends)
        rows.append(row)
    return np.array(rows, np.uint16)


def _minimal(rows: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Join states that no text tells apart, and number them as they are reached."""
    ends = rows & ENDS_HERE
    onward = (rows & ~np.uint16(ENDS_HERE)).astype(np.int64)
    groups = np.zeros(len(rows), np.int64)
    count = 1
    while True:
        key = np.concatenate([groups[:, None], ends, groups[onward]], axis=1)
        _, groups = np.unique(key, axis=0, return_inverse=True)
        groups = groups.reshape(-1)
        if groups.max() + 1 == count:
            break
        count = int(groups.max()) + 1
    order = [groups[DEAD]]
    number = {order[0]: DEAD}
    speaker = {group: at for at, group in reversed(list(enumerate(groups.tolist())))}
    order.append(groups[START])
    number[order[1]] = START
    at = 0
    found = []
    while at < len(order):
        state = speaker[order[at]]
        row = []
        for target, end in zip(onward[state].tolist(), ends[state].tolist(), strict=True):
            group = groups[target]
            if group not in number:
                number[group] = len(order)
                order.append(group)
            row.append(number[group] | end)
        found.append(row)
        at += 1
    return np.array(found, np.uint16)


def _refuse_empty(rows: NDArray[np.uint16], name: str) -> None:
    if (rows[START] & ENDS_HERE).any():
        raise CheckpointError(
            f"the pattern `{name}` matches the empty text, which is not supported",
            hint=WAY_OUT,
        )


def _refuse_endless(rows: NDArray[np.uint16], name: str) -> None:
    """Refuse a search that can go on for long, find nothing, and begin again one behind."""
    edges = {
        state: {int(step) for step in row if not step & ENDS_HERE} - {DEAD}
        for state, row in enumerate(rows.tolist())
    }
    reached, waiting = {START}, [START]
    while waiting:
        fresh = edges[waiting.pop()] - reached
        reached |= fresh
        waiting += fresh
    left = set(reached)
    while True:
        ends = {state for state in left if not edges[state] & left}
        if not ends:
            break
        left -= ends
    if left:
        raise CheckpointError(
            f"the pattern `{name}` can read on without bound and find nothing, which would make "
            "the time to tokenize grow with the square of a text; it is not supported",
            hint=WAY_OUT,
        )
