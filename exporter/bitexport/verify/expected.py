"""What the reference computes for a prompt and its greedy continuation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitexport.errors import BundleError
from bitexport_ref.bitx import network_test, open_bitx, self_test
from bitexport_ref.digests import printed, row_digest
from bitexport_ref.errors import ReferenceFailure
from bitexport_ref.evaluator import Outputs, ReferenceModel, Traced, greedy, load


@dataclasses.dataclass(frozen=True)
class Expected:
    """Tokens, and a digest for every op output at every position."""

    prompt: tuple[int, ...]
    generated: tuple[int, ...]
    outputs: tuple[tuple[str, str], ...]
    """Name and op type of every op output, in plan order."""
    digests: tuple[tuple[str, ...], ...]
    """digests[output][position], as the runner prints them."""

    @property
    def positions(self) -> int:
        """How many tokens are consumed: the last one that was chosen is not."""
        return len(self.prompt) + len(self.generated) - 1

    def logits(self, position: int) -> str:
        """Return the digest of the logits at a position: the last op output of the plan."""
        return self.digests[-1][position]


def load_reference(graph: Path) -> ReferenceModel:
    """Open a bundle's graph in the reference."""
    try:
        return load(graph)
    except ReferenceFailure as error:
        raise BundleError(str(error), hint="build the bundle again") from error


def self_test_positions(data: Path) -> int | None:
    """Return how many tokens the self-test of a .bitx file consumes; None if it holds none."""
    try:
        tested = self_test(open_bitx(data))
    except ReferenceFailure as error:
        raise BundleError(f"{data}: {error}", hint="build the bundle again") from error
    return None if tested is None else len(tested.prompt) + len(tested.generated) - 1


def holds_network_test(data: Path) -> bool:
    """Return whether the .bitx file of a network holds a self-test."""
    try:
        return network_test(open_bitx(data)) is not None
    except ReferenceFailure as error:
        raise BundleError(f"{data}: {error}", hint="build the bundle again") from error


def compute_expected(model: ReferenceModel, prompt: Sequence[int], count: int) -> Expected:
    """Run the reference: the prompt in one call, then `count` greedy tokens one by one."""
    columns: dict[str, list[str]] = {name: [] for name, _ in model.plan}

    def digest(traced: Traced) -> None:
        columns[traced.name] += [printed(row_digest(row)).hex() for row in traced.rows]

    chosen: list[int] = []
    session = model.session()
    tokens = np.array(prompt, np.int32)
    while len(chosen) < count:
        outputs = session.run(tokens, visit=digest)
        chosen.append(greedy(outputs.logits[-1]))
        tokens = np.array(chosen[-1:], np.int32)
    digests = tuple(tuple(columns[name]) for name, _ in model.plan)
    return Expected(tuple(prompt), tuple(chosen), tuple(model.plan), digests)


def rows_at(model: ReferenceModel, tokens: Sequence[int], position: int) -> dict[str, NDArray[Any]]:
    """Return every op output at one position by name, from a fresh run of the tokens before it."""
    outputs: Outputs = model.session().run(np.array(tokens[: position + 1], np.int32))
    return {traced.name: traced.rows[-1] for traced in outputs.trace}
