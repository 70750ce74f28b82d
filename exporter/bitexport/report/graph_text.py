"""A graph as text, a line an op: number, op, the ops it reads from, what it makes, its weights."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
from typing import Any

from bitexport.report.fold import NUMBER, Folded, Part, Wire, fold
from bitexport.report.graph import Graph, Node, Value, Weight

TITLES = ("", "op", "reads", "makes", "weights")
Row = tuple[str, ...]


def graph_text(graph: Graph) -> str:
    """Return the folded graph as lines."""
    folded = fold(graph)
    numbers = {at: number for number, at in enumerate(folded.drawn, 1)}
    rows = {at: _row(folded, part, at, numbers) for part in folded.parts for at in part.nodes}
    widths = [max(map(len, column)) for column in zip(TITLES, *rows.values(), strict=True)]

    def line(row: Row) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))

    lines = [f"{graph.name}: {summary(graph)}", graph.about, ""]
    lines += [f"input  {text}" for text in counted(graph.inputs)]
    lines += [f"state  {text}" for text in counted(graph.states)]
    lines += ["", f"  {line(TITLES)}"]
    for part in folded.parts:
        drawn = [line(rows[at]) for at in part.nodes]
        if part.times > 1:
            lines += [f"┌ {part_words(folded, part)}", *(f"│ {each}" for each in drawn), "└"]
        else:
            lines += [f"  {each}" for each in drawn]
    lines.append("")
    written = {value.name: value for node in graph.nodes for value in node.outputs}
    outputs = [written.get(name, Value(name=name)) for name in graph.outputs]
    lines += [f"output {text}" for text in counted(outputs)]
    return "\n".join(line.rstrip() for line in lines)


def graph_facts(graph: Graph) -> Mapping[str, Any]:
    """Return the folded graph as plain data; of repeated blocks the first."""
    folded = fold(graph)
    return {
        "name": graph.name,
        "about": graph.about,
        "ops": len(graph.nodes),
        "steps": graph.steps,
        "tensors": len(graph.weights),
        "bytes": total_bytes(graph.weights.values()),
        "inputs": [_value_facts(value) for value in graph.inputs],
        "states": [_value_facts(value) for value in graph.states],
        "outputs": list(graph.outputs),
        "parts": [
            {
                "times": part.times,
                "label": part.label,
                "bytes": part_bytes(graph, part),
                "nodes": [_node_facts(graph.nodes[at]) for at in part.nodes],
            }
            for part in folded.parts
        ],
    }


def summary(graph: Graph) -> str:
    """Return the sizes of a graph in a few words."""
    steps = f" run as {graph.steps:,} steps" if graph.steps < len(graph.nodes) else ""
    weights = graph.weights
    return (
        f"{len(graph.nodes):,} ops{steps}; "
        f"{len(weights):,} tensors, {total_bytes(weights.values()):,} bytes"
    )


def part_title(part: Part) -> str:
    """Return how often a block is repeated, and what that counts."""
    return f"{part.times} times" + (f": {part.label}" if part.label else "")


def part_note(folded: Folded, part: Part) -> str:
    """Return in what the last block differs from the one that is drawn."""
    kept = folded.last_rows(part)
    return f"{kept} ops of the last compute only the rows whose logits are kept" if kept else ""


def part_words(folded: Folded, part: Part) -> str:
    """Return all that is to be said of a repeated block."""
    note = part_note(folded, part)
    return f"{part_title(part)}, {part_bytes(folded.graph, part):,} bytes each" + (
        f"; {note}" if note else ""
    )


def part_bytes(graph: Graph, part: Part) -> int:
    """Return the bytes of the weights that the first block has for itself."""

    def uses(nodes: range) -> collections.Counter[str]:
        return collections.Counter(
            name for at in nodes for name in {weight.name for weight in graph.nodes[at].weights}
        )

    everywhere, here = uses(range(part.start, part.end)), uses(part.nodes)
    own = {weight.name: weight for at in part.nodes for weight in graph.nodes[at].weights
           if everywhere[weight.name] == here[weight.name]}  # fmt: skip
    return total_bytes(own.values())


def weight_name(weight: Weight, part: Part) -> str:
    """Return what a weight is called within its block."""
    return weight.name.removeprefix(part.prefix).removesuffix(".weight")


def own_name(name: str) -> str:
    """Return what the caller gives or gets for each block, `past_key_values.N.key`."""
    return NUMBER.sub("N", name, count=1)


def counted(values: Iterable[Value]) -> list[str]:
    """Return values as text; those of one type whose names differ in a number are one line."""
    groups: dict[tuple[str, str], list[str]] = {}
    for value in values:
        groups.setdefault((NUMBER.sub("N", value.name, count=1), value.type), []).append(value.name)
    lines = []
    for (pattern, kind), names in groups.items():
        numbers = [found[0] for name in names if (found := NUMBER.search(name))]
        if len(numbers) > 1:
            lines.append(f"{pattern}: {kind}, N from {numbers[0]} to {numbers[-1]}")
        else:
            lines += [f"{name}: {kind}" for name in names]
    return lines


def total_bytes(weights: Iterable[Weight]) -> int:
    """Return the bytes of some weights."""
    return sum(weight.bytes for weight in weights)


def _row(folded: Folded, part: Part, at: int, numbers: Mapping[int, int]) -> Row:
    node = folded.graph.nodes[at]
    fused = at > 0 and folded.graph.nodes[at - 1].step == node.step
    read = dict.fromkeys(_wire(wire, part, numbers) for wire in folded.wires(part, at))
    return (
        f"{numbers[at]:>3}",
        " ".join([*(["+"] if fused else []), node.op, ", ".join(node.attributes)]).rstrip(),
        ", ".join(read),
        ", ".join(value.type for value in node.outputs if value.type),
        "; ".join(
            f"{weight_name(weight, part)} {weight.stored} {list(weight.shape)} {weight.bytes:,}"
            for weight in node.weights
        ),
    )


def _wire(wire: Wire, part: Part, numbers: Mapping[int, int]) -> str:
    if wire.source is None:
        name = own_name(wire.name) if part.times > 1 else wire.name
        return f"input {name}" if name.isdigit() else name
    then = f", then {numbers[wire.then]}" if wire.then is not None else ""
    return f"{numbers[wire.source]}{then}"


def _value_facts(value: Value) -> Mapping[str, Any]:
    return {"name": value.name, "dtype": value.dtype, "shape": list(value.shape)}


def _node_facts(node: Node) -> Mapping[str, Any]:
    return {
        "op": node.op,
        "step": node.step,
        "inputs": list(node.inputs),
        "outputs": [_value_facts(value) for value in node.outputs],
        "attributes": list(node.attributes),
        "weights": [
            {"name": weight.name, "kind": weight.kind, "shape": list(weight.shape),
             "stored": weight.stored, "bytes": weight.bytes}
            for weight in node.weights
        ],
    }  # fmt: skip
