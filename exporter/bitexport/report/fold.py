"""Fold a graph: blocks that repeat one after the other become one block and a count."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bitexport.report.graph import CONTEXT, KEPT_ROWS, ROWS, Graph, Node

OF_PLANS = (ROWS, CONTEXT)
NUMBER = re.compile(r"\d+")
LEAST_NODES = 3
"""Of a block.  Shorter ones are drawn faster than explained."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """Nodes `start` … `start + size - 1`, and `times - 1` repetitions of them behind these."""

    start: int
    size: int
    times: int = 1
    label: str = ""
    """What is counted, `layers 0 to 3`; empty where names do not say it."""
    prefix: str = ""
    """What the names of all that the first block writes begin with, `model.layers.0.`."""

    @property
    def nodes(self) -> range:
        """The nodes of the first repetition."""
        return range(self.start, self.start + self.size)

    @property
    def end(self) -> int:
        """The first node behind the last repetition."""
        return self.start + self.size * self.times


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wire:
    """What a node of a folded graph reads."""

    name: str
    source: int | None
    """The drawn node that wrote it; None: the caller gives it."""
    then: int | None = None
    """Where all blocks but the first read it from, if that is another node."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folded:
    """A graph of which only the first of equal blocks is drawn."""

    graph: Graph
    parts: tuple[Part, ...]

    @functools.cached_property
    def drawn(self) -> tuple[int, ...]:
        """The nodes that are drawn, in order."""
        return tuple(at for part in self.parts for at in part.nodes)

    def wires(self, part: Part, at: int) -> tuple[Wire, ...]:
        """Return what a drawn node reads."""
        first = self.graph.sources[at]
        second = self.graph.sources[at + part.size] if part.times > 1 else first
        names = self.graph.nodes[at].inputs
        return tuple(
            Wire(
                name=name, source=self._home(source),
                then=self._home(later) if self._home(later) != self._home(source) else None,
            )
            for name, source, later in zip(names, first, second, strict=True)
        )  # fmt: skip

    def writer(self, name: str) -> int | None:
        """Return the drawn node that writes a value last; None: the caller gives it."""
        return self._home(self._writers.get(name))

    def last_rows(self, part: Part) -> int:
        """Return how many nodes of the last block compute only the rows whose logits are kept."""
        last = self.graph.nodes[part.end - part.size : part.end]
        first = self.graph.nodes[part.start : part.start + part.size]
        pairs = zip(first, last, strict=True)
        return sum(_kept(one) != _kept(other) for one, other in pairs)

    @functools.cached_property
    def _writers(self) -> Mapping[str, int]:
        return {
            value.name: at for at, node in enumerate(self.graph.nodes) for value in node.outputs
        }

    def _home(self, at: int | None) -> int | None:
        if at is None:
            return None
        part = next(part for part in self.parts if at < part.end)
        return part.start + (at - part.start) % part.size


def fold(graph: Graph) -> Folded:
    """Fold a graph."""
    return Folded(graph=graph, parts=find_parts(graph))


def find_parts(graph: Graph) -> tuple[Part, ...]:
    """Return the parts of a graph in order; together they are all of it."""
    signatures: dict[object, int] = {}
    marks = np.array(
        [signatures.setdefault(each, len(signatures)) for each in _signatures(graph)], np.int64
    )
    return tuple(_parts(graph, marks, 0, len(marks)))


def _signatures(graph: Graph) -> Iterator[object]:
    """Yield what must be equal for two nodes to be repetitions of one: all but names and wires."""
    last = None
    for node in graph.nodes:
        weights = tuple((w.kind, w.shape, w.stored, w.bytes) for w in node.weights)
        made = tuple((value.dtype, _sizes(value.shape)) for value in node.outputs)
        yield node.op, len(node.inputs), node.attributes, weights, made, node.step == last
        last = node.step


def _sizes(shape: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return what of a shape must be equal: of symbolic ones in ONNX, their rank.

    Inference knows some of these better than others, and gives each a name of its own.  The last
    layer of a plan skips rows that nobody reads.
    """
    kept = tuple(ROWS if dim == KEPT_ROWS else dim for dim in shape)
    is_open = any(isinstance(dim, str) and dim not in OF_PLANS for dim in kept)
    return ("",) * len(shape) if is_open else kept


def _kept(node: Node) -> bool:
    return any(KEPT_ROWS in value.shape for value in node.outputs)


def _parts(graph: Graph, marks: NDArray[np.int64], start: int, end: int) -> Iterator[Part]:
    found = _best(graph, marks, start, end)
    if found is None:
        if start < end:
            yield Part(start=start, size=end - start)
        return
    yield from _parts(graph, marks, start, found.start)
    yield found
    yield from _parts(graph, marks, found.end, end)


def _best(graph: Graph, marks: NDArray[np.int64], start: int, end: int) -> Part | None:
    """Return the repetition that saves most nodes; of equals, the one of the shortest block."""
    for _, size, first, length in sorted(_runs(marks[start:end])):
        times = length // size + 1
        turns = range(first, first + length - size * (times - 1) + 1)
        for at in sorted(turns, key=lambda at: (_numbers(graph, start + at, size), at)):
            if _is_chain(graph, start + at, size, times):
                label, prefix = _named(graph, start + at, size, times)
                return Part(start=start + at, size=size, times=times, label=label, prefix=prefix)
    return None


def _runs(marks: NDArray[np.int64]) -> Iterator[tuple[int, int, int, int]]:
    """Yield (-nodes saved, size, first, length) where marks equal those `size` further on."""
    for size in range(LEAST_NODES, len(marks) // 2 + 1):
        same = np.concatenate([[False], marks[:-size] == marks[size:], [False]])
        edges = np.flatnonzero(same[1:] != same[:-1])
        for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            if last - first >= size:
                yield -((last - first) // size) * size, size, first, last - first


def _is_chain(graph: Graph, start: int, size: int, times: int) -> bool:
    """Return whether each block reads from the one before, and all are wired alike.

    An input comes from inside the block, from the block before (of the first, from anywhere
    before), or from one place before all of them.
    """
    carried = False
    for offset in range(size):
        wires = zip(*(graph.sources[start + offset + size * t] for t in range(times)), strict=True)
        for sources in wires:
            if all(source is None for source in sources):
                continue
            if len(set(sources)) == 1 and (sources[0] or 0) < start:
                continue
            first, *later = (
                None if source is None else source - start - size * t
                for t, source in enumerate(sources)
            )
            place = later[0]
            if place is None or any(other != place for other in later):
                return False
            if place >= 0 and first != place:
                return False
            if place < 0 and (place < -size or (first or -1) >= 0):
                return False
            carried = carried or place < 0
    return carried


def _numbers(graph: Graph, start: int, size: int) -> int:
    """Return how many different first numbers the names in a block have: one, if it is a layer."""
    names = _names(graph.nodes[start : start + size])
    return len({match[0] for name in names if (match := NUMBER.search(name))})


def _names(nodes: Sequence[Node]) -> list[str]:
    return [value.name for node in nodes for value in node.outputs]


def _named(graph: Graph, start: int, size: int, times: int) -> tuple[str, str]:
    """Return what the blocks are called together, and how names in the first one begin."""
    blocks = [_names(graph.nodes[start + size * t : start + size * (t + 1)]) for t in range(times)]
    for name, *others in zip(*blocks, strict=True):
        for match in NUMBER.finditer(name):
            head, tail = name[: match.start()], name[match.end() :]
            first = int(match[0])
            if others == [f"{head}{first + t}{tail}" for t in range(1, times)]:
                prefix = name[: match.end()] + tail[:1]
                word = re.split(r"[^A-Za-z]+", head.rstrip("._/-"))[-1] or "blocks"
                return f"{word} {first} to {first + times - 1}", prefix
    return "", ""
