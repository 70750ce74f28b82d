"""Place the boxes of a graph in layers from top to bottom, with few crossings and straight edges.

The steps are those of Sugiyama, Tagawa and Toda (1981): layers by the longest path, places within a
layer by the mean of the neighbours, then coordinates that pull neighbours together.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

SWEEPS = 12
GAP = 28.0  # pixels between boxes of a layer
LANE = 18.0  # of a layer that an edge only passes
PORTS = 14.0  # between edges that meet at a box
SMALL_BEND = 14.0
SETTLING = 240  # sweeps


@dataclasses.dataclass(frozen=True, kw_only=True)
class Box:
    """What is to be placed."""

    width: float
    height: float
    part: int
    """Boxes of a part are below all boxes of the parts before it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placed:
    """Where boxes and edges are; the origin is at the top left."""

    x: Sequence[float]
    """The middle of each box."""
    layer: Sequence[int]
    ports: Mapping[tuple[int, int], tuple[float, float]]
    """For each edge where it leaves the upper box and where it enters the lower one."""
    lanes: Mapping[tuple[int, int], Sequence[float]]
    """For each edge its x in the layers that it passes."""
    width: float


Edge = tuple[int, int]


def place(boxes: Sequence[Box], edges: Sequence[Edge]) -> Placed:
    """Place boxes; edges lead from a box to one with a greater number."""
    layer = _layers(boxes, edges)
    widths = [box.width for box in boxes]
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for at, row in enumerate(layer):
        rows[row].append(at)
    chains: dict[Edge, list[int]] = {}
    for upper, lower in dict.fromkeys(edges):
        chain = [upper]
        for row in range(layer[upper] + 1, layer[lower]):
            rows[row].append(len(widths))
            chain.append(len(widths))
            widths.append(LANE)
        chains[upper, lower] = [*chain, lower]
    above, below = _neighbours(chains)
    _order(rows, above, below)
    x = _coordinates(rows, above, below, widths, len(boxes))
    x -= min((x[at] - widths[at] / 2 for at in range(len(widths))), default=0.0)
    width = max((x[at] + widths[at] / 2 for at in range(len(widths))), default=0.0)
    return Placed(
        x=[float(x[at]) for at in range(len(boxes))],
        layer=layer,
        ports=_ports(chains, x, boxes),
        lanes={
            edge: _straight([float(x[at]) for at in chain[1:-1]]) for edge, chain in chains.items()
        },
        width=float(width),
    )


def _layers(boxes: Sequence[Box], edges: Sequence[Edge]) -> list[int]:
    """Return a layer for each box: one below the lowest that it reads, in its part's own layers."""
    read, readers = collections.defaultdict(list), collections.defaultdict(list)
    for upper, lower in edges:
        read[lower].append(upper)
        readers[upper].append(lower)
    layer = [0] * len(boxes)
    base, top, part = 0, -1, None
    for at, box in enumerate(boxes):
        if box.part != part:
            base, part = top + 1, box.part
        layer[at] = max([base, *(layer[upper] + 1 for upper in read[at])])
        top = max(top, layer[at])
    for at in reversed(range(len(boxes))):
        part, below = boxes[at].part, set(readers[at])
        above = {upper for upper in read[at] if boxes[upper].part == part}
        # Right above its reader stands what reads nothing near, or is read more than it reads.
        if len(above) < len(below) and all(boxes[lower].part == part for lower in below):
            layer[at] = max(layer[at], min(layer[lower] for lower in below) - 1)
    return layer


def _neighbours(
    chains: Mapping[Edge, Sequence[int]],
) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    above: dict[int, list[int]] = collections.defaultdict(list)
    below: dict[int, list[int]] = collections.defaultdict(list)
    for chain in chains.values():
        for upper, lower in itertools.pairwise(chain):
            above[lower].append(upper)
            below[upper].append(lower)
    return above, below


def _order(
    rows: list[list[int]], above: Mapping[int, list[int]], below: Mapping[int, list[int]]
) -> None:
    """Order each layer by the mean place of its neighbours; keep what crosses least."""
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            other = rows[row - 1 if down else row + 1]
            place = {at: index for index, at in enumerate(other)}
            near = above if down else below
            own = {at: index for index, at in enumerate(rows[row])}
            rows[row].sort(key=lambda at: (_mean(near.get(at, ()), place, own[at]), own[at]))
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    rows[:] = best


def _mean(near: Sequence[int], place: Mapping[int, int], own: float) -> float:
    places = [place[at] for at in near if at in place]
    return sum(places) / len(places) if places else own


def _crossings(rows: Sequence[Sequence[int]], below: Mapping[int, list[int]]) -> int:
    count = 0
    for upper, lower in itertools.pairwise(rows):
        place = {at: index for index, at in enumerate(lower)}
        ends = np.array(
            [end for at in upper for end in sorted(place[other] for other in below.get(at, ()))]
        )
        count += sum(int((ends[:at] > end).sum()) for at, end in enumerate(ends))
    return count


def _coordinates(
    rows: Sequence[Sequence[int]], above: Mapping[int, list[int]], below: Mapping[int, list[int]],
    widths: Sequence[float], boxes: int,
) -> NDArray[np.float64]:  # fmt: skip
    """Return the middle of each item: where its neighbours are, as far as its layer has room."""
    x = np.zeros(len(widths))
    for row in rows:
        first = np.array(_spread(row, [0.0] * len(row), widths, [1.0] * len(row)))
        x[row] = first - first.mean() if row else first
    near = [
        [(other, _pull(at, other, boxes)) for other in (*above.get(at, ()), *below.get(at, ()))]
        for at in range(len(widths))
    ]
    for sweep in range(SETTLING):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            pulls = [sum(pull for _, pull in near[at]) for at in row]
            wanted = [
                sum(pull * float(x[other]) for other, pull in near[at]) / whole
                if whole
                else float(x[at])
                for at, whole in zip(row, pulls, strict=True)
            ]
            x[row] = _spread(row, wanted, widths, [pull or 1.0 for pull in pulls])
    return x


def _pull(at: int, other: int, boxes: int) -> float:
    """Return how much two neighbours want to be above each other: the bends are at the ends."""
    lanes = (at >= boxes) + (other >= boxes)
    return (1.0, 0.01, 4.0)[lanes]


def _straight(lane: list[float]) -> list[float]:
    """Return a lane without bends that are too small to be meant."""
    if not lane or max(lane) - min(lane) > SMALL_BEND:
        return lane
    return [sum(lane) / len(lane)] * len(lane)


def _spread(
    row: Sequence[int], wanted: Sequence[float], widths: Sequence[float], weights: Sequence[float]
) -> list[float]:
    """Return places in order and apart, nearest to the wanted ones in least squares.

    Without the distances it is an isotonic regression: neighbours that violate the order are pooled
    at their weighted mean.
    """
    starts = [0.0]
    for left, right in itertools.pairwise(row):
        starts.append(starts[-1] + (widths[left] + widths[right]) / 2 + GAP)
    pools: list[tuple[float, float, int]] = []  # mean, weight, members
    for goal, start, weight in zip(wanted, starts, weights, strict=True):
        pools.append((goal - start, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (first, one, few), (second, other, more) = pools[-2:]
            pools[-2:] = [((first * one + second * other) / (one + other), one + other, few + more)]
    means = [mean for mean, _, members in pools for _ in range(members)]
    return [mean + start for mean, start in zip(means, starts, strict=True)]


def _ports(
    chains: Mapping[Edge, Sequence[int]], x: NDArray[np.float64], boxes: Sequence[Box]
) -> dict[Edge, tuple[float, float]]:
    """Return where edges touch their boxes: side by side, in the order of where they go."""
    leaving: dict[int, list[tuple[float, Edge]]] = collections.defaultdict(list)
    entering: dict[int, list[tuple[float, Edge]]] = collections.defaultdict(list)
    for edge, chain in chains.items():
        leaving[edge[0]].append((float(x[chain[1]]), edge))
        entering[edge[1]].append((float(x[chain[-2]]), edge))
    found: dict[Edge, list[float]] = {edge: [0.0, 0.0] for edge in chains}
    for end, groups in enumerate((leaving, entering)):
        for at, group in groups.items():
            step = min(PORTS, boxes[at].width / (len(group) + 1))
            for place, (_, edge) in enumerate(sorted(group)):
                found[edge][end] = float(x[at]) + step * (place - (len(group) - 1) / 2)
    return {edge: (ends[0], ends[1]) for edge, ends in found.items()}
