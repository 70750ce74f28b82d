"""Counts beside what they are compared with: the bars of the house, and others (peers.toml)."""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from bitexport.bench.count import Count

SCALAR = "scalar"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """What somebody else's kernel costs, in instructions per 64 weights and vector."""

    name: str
    cost: float
    source: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contest:
    """A target's instruction set, the weights and whether there is one vector or many."""

    target: str
    isa: str
    weights: str
    phase: str  # "decode" or "prefill"
    bar: float | None
    peers: tuple[Peer, ...]  # the best first


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """A kernel with some number of vectors, on every matrix that was counted."""

    contest: Contest
    kernel: str
    columns: int
    costs: Mapping[tuple[int, int], float]  # by rows and columns of the matrix

    @property
    def worst(self) -> float:
        """Return what the matrix costs that suits the kernel least."""
        return max(self.costs.values())

    @property
    def holds(self) -> bool | None:
        """Return whether it holds the bar; None, where there is none."""
        return None if self.contest.bar is None else self.worst <= self.contest.bar


def compare(counts: Iterable[Count]) -> list[Line]:
    """Return a line for each kernel and number of vectors, in the order of the counts."""
    grouped: dict[tuple[str, str, str, int], dict[tuple[int, int], float]] = {}
    for each in counts:
        key = (each.target, each.isa, each.kernel, each.columns)
        grouped.setdefault(key, {})[each.n, each.k] = each.per_unit
    return [
        Line(
            contest=contest(target, isa, weights_of(kernel), phase_of(columns)),
            kernel=kernel,
            columns=columns,
            costs=costs,
        )
        for (target, isa, kernel, columns), costs in grouped.items()
    ]


def missing(lines: Iterable[Line]) -> list[Contest]:
    """Return the contests with a bar, on the targets of the lines, that no kernel is in."""
    entered = list(lines)
    targets = {line.contest.target for line in entered}
    present = {line.contest for line in entered}
    wanted = [
        contest(bar["target"], bar["isa"], bar["weights"], phase)
        for bar in facts()["bar"]
        for phase in ("decode", "prefill")
        if phase in bar and bar["target"] in targets
    ]
    return [each for each in wanted if each not in present]


def weights_of(kernel: str) -> str:
    """Return what the weights of a kernel are; its name ends in their layout."""
    layout = kernel.rpartition("_")[2]
    named: str = facts()["weights"].get(layout, layout)
    return named


def phase_of(columns: int) -> str:
    """Return when a matrix meets so many vectors: one for each new token, many for a prompt."""
    return "decode" if columns == 1 else "prefill"


@functools.cache
def contest(target: str, isa: str, weights: str, phase: str) -> Contest:
    """Return bar and peers of a place in the comparison."""
    bars = [
        bar[phase]
        for bar in facts()["bar"]
        if (bar["target"], bar["isa"], bar["weights"]) == (target, isa, weights) and phase in bar
    ]
    peers = [
        Peer(name=peer["name"], cost=peer[phase], source=peer["source"])
        for peer in facts()["peer"]
        if (peer["target"], peer["weights"]) == (target, weights)
        and isa in peer["isas"]
        and phase in peer
    ]
    return Contest(
        target=target,
        isa=isa,
        weights=weights,
        phase=phase,
        bar=bars[0] if bars else None,
        peers=tuple(sorted(peers, key=lambda peer: peer.cost)),
    )


@functools.cache
def facts() -> dict[str, Any]:
    """Return what peers.toml says."""
    text = files("bitexport.bench").joinpath("peers.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
