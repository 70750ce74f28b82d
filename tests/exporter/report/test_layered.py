"""layered: boxes do not touch, edges lead down, parts are below each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bitexport.report.layered import GAP, Box, place


def boxes(count: int, width: float = 100.0, parts: int = 1) -> list[Box]:
    return [Box(width=width, height=40.0, part=at * parts // count) for at in range(count)]


def test_a_chain_is_straight() -> None:
    placed = place(boxes(6), [(at, at + 1) for at in range(5)])
    assert placed.layer == [0, 1, 2, 3, 4, 5]
    assert np.ptp(placed.x) < 1.0
    assert all(leaves == enters for leaves, enters in placed.ports.values())


def test_an_edge_past_a_chain_runs_beside_it() -> None:
    edges = [(0, 1), (1, 2), (2, 3), (0, 3)]
    placed = place(boxes(4), edges)
    lane = placed.lanes[0, 3]
    assert len(lane) == 2
    assert all(abs(x - placed.x[at]) >= 50 + GAP for at, x in zip((1, 2), lane, strict=True))
    assert lane[0] == lane[1]


@pytest.mark.parametrize("seed", range(5))
def test_any_graph_is_placed_without_touching(seed: int) -> None:
    draw = np.random.default_rng(seed)
    some = [
        Box(width=float(draw.integers(60, 300)), height=40.0, part=at // 10) for at in range(40)
    ]
    edges = [
        (int(upper), at) for at in range(1, 40) for upper in set(draw.integers(0, at, 2).tolist())
    ]
    placed = place(some, edges)
    for upper, lower in edges:
        assert placed.layer[upper] < placed.layer[lower]
        assert len(placed.lanes[upper, lower]) == placed.layer[lower] - placed.layer[upper] - 1
    for part in range(3):
        above = [placed.layer[at] for at, box in enumerate(some) if box.part <= part]
        below = [placed.layer[at] for at, box in enumerate(some) if box.part > part]
        assert max(above) < min(below)
    for layer in set(placed.layer):
        row = sorted(
            (at for at in range(40) if placed.layer[at] == layer), key=placed.x.__getitem__
        )
        for left, right in itertools.pairwise(row):
            apart = placed.x[right] - placed.x[left]
            assert apart >= (some[left].width + some[right].width) / 2 + GAP - 1e-6
    lefts = [x - box.width / 2 for x, box in zip(placed.x, some, strict=True)]
    rights = [x + box.width / 2 for x, box in zip(placed.x, some, strict=True)]
    assert min(lefts) >= -1e-6
    assert max(rights) <= placed.width + 1e-6


def test_two_branches_do_not_cross() -> None:
    edges = [(0, 1), (0, 2), (1, 4), (2, 3), (3, 5), (4, 5)]
    placed = place(boxes(6), edges)
    assert (placed.x[1] < placed.x[2]) == (placed.x[4] < placed.x[3])
