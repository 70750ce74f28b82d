"""A folded graph as SVG: a card for each step, a frame around blocks that repeat; no script.

Every string is escaped here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from bitexport.report.fold import Folded, Part
from bitexport.report.graph import Node, Weight
from bitexport.report.graph_text import own_name, part_bytes, part_note, weight_name
from bitexport.report.layered import Box, Edge, Placed, place
from bitexport.report.palette import COLOURS, MARKS, VARIABLES

OP, LINE, PAD = 21.0, 17.0, 9.0  # pixels: an op's line, another one, around them
LEAST, MOST = 120.0, 330.0  # of a card's width
BOLD, PLAIN, SMALL = 8.2, 6.6, 6.4  # mean width of a character
APART = 34.0  # between layers
FRAME_HEAD, NOTE, FRAME_PAD, MARGIN = 50.0, 18.0, 26.0, 30.0
BESIDE, BELOW = 42, 46  # characters of an op with its attributes in a line, and of these alone
KIBI = 1024
TIMES = "\N{MULTIPLICATION SIGN}"
TURN = 10.0  # radius of the corners of the way back

STYLE = f"""\
{VARIABLES}
svg.graph {{ display: block; font: 12px system-ui, sans-serif }}
svg.graph text {{ fill: var(--ink); font-variant-numeric: tabular-nums }}
svg.graph .op {{ font-size: 13.5px; font-weight: 600 }}
svg.graph .soft {{ fill: var(--soft) }}
svg.graph .type {{ fill: var(--soft); font: 11px ui-monospace, monospace }}
svg.graph .card {{ fill: var(--page); stroke: var(--line); stroke-width: 1.2px }}
svg.graph a:hover .card, svg.graph g:hover > .card {{ stroke: var(--soft) }}
svg.graph .pill {{ fill: var(--box); stroke: var(--line) }}
svg.graph .frame {{ fill: var(--box); stroke: var(--line); stroke-width: 1.2px }}
svg.graph .wire {{ fill: none; stroke: var(--other); stroke-width: 1.4px }}
svg.graph .back {{ fill: none; stroke: var(--ternary); stroke-width: 1.6px;
  stroke-dasharray: 5 4 }}
svg.graph .tip {{ fill: var(--other) }}
svg.graph .back-tip {{ fill: var(--ternary) }}
svg.graph .times {{ font-size: 15px; font-weight: 700; fill: var(--ternary) }}
svg.graph .title {{ font-size: 15px; font-weight: 600 }}
{MARKS}"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a card: text on the left and on the right, and the colour of its mark."""

    left: str
    right: str = ""
    css: str = ""
    mark: str = ""
    height: float = LINE

    @property
    def width(self) -> float:
        """Pixels that it wants."""
        each = {"op": BOLD, "type": 6.7}.get(self.css, PLAIN)
        gap = 18.0 if self.left and self.right else 0.0
        return each * len(self.left) + SMALL * len(self.right) + gap + (15.0 if self.mark else 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """A step, or an input or output of the graph."""

    nodes: tuple[int, ...]
    part: int
    lines: tuple[Line, ...]
    title: str
    css: str = "card"
    mark: str = ""

    @property
    def box(self) -> Box:
        """Its size."""
        width = max((line.width for line in self.lines), default=0.0) + 2 * PAD + 8
        height = sum(line.height for line in self.lines) + 2 * PAD - 3
        return Box(width=min(MOST, max(LEAST, width)), height=height, part=self.part)


def draw(folded: Folded) -> str:
    """Return the graph as an SVG element, which takes its colours from STYLE."""
    cards, edges, back = _cards(folded)
    boxes = [card.box for card in cards]
    placed = place(boxes, edges)
    tops, frames, height = _heights(folded, cards, boxes, placed)
    shift = MARGIN + FRAME_PAD
    drawn = [_frame(folded, part, placed, frames[at], shift)
             for at, part in enumerate(folded.parts) if part.times > 1]  # fmt: skip
    drawn += [_wire(edge, cards, boxes, placed, tops) for edge in dict.fromkeys(edges)]
    drawn += [
        _way_back(pair, boxes, placed, tops, frames[cards[pair[0]].part - 1].left + 14 + 9 * turn)
        for turn, pair in enumerate(_first_ways(back, placed))
    ]
    drawn += [_card(card, box, x, top) for card, box, x, top in
              zip(cards, boxes, placed.x, tops, strict=True)]  # fmt: skip
    width = placed.width + 2 * shift
    about = f"the graph of {folded.graph.name}, {len(folded.graph.nodes)} ops"
    return (
        f'<svg class="graph" xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="{-shift:.0f} 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(about)}">{"".join(drawn)}</svg>'
    )


def whole_file(folded: Folded) -> str:
    """Return the graph as an .svg file with a style of its own."""
    style = f"<style>{STYLE}\nsvg.graph {{ background: var(--page) }}</style>"
    head, tag, rest = draw(folded).partition(">")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}{tag}{style}{rest}\n'


# ---- cards -----------------------------------------------------------------------------------


def _cards(folded: Folded) -> tuple[list[Card], list[Edge], list[tuple[int, int]]]:
    """Return cards, the edges between them, and from which to which a block leads to the next."""
    graph = folded.graph
    cards = _inputs(folded)
    given = {card.title: at for at, card in enumerate(cards)}
    home: dict[int, int] = {}
    for index, part in enumerate(folded.parts, 1):
        for group in _groups(folded, part):
            home |= dict.fromkeys(group, len(cards))
            cards.append(_step(folded, part, group, index))
    edges, back = [], []
    for part in folded.parts:
        for at in part.nodes:
            for wire in folded.wires(part, at):
                source = given.get(wire.name) if wire.source is None else home[wire.source]
                if source is not None and source != home[at]:
                    edges.append((source, home[at]))
                if wire.then is not None:
                    back.append((home[wire.then], home[at]))
    last = len(folded.parts) + 1
    for name in graph.outputs:
        writer = folded.writer(name)
        if writer is None or _own_outputs(folded, writer):
            continue
        edges.append((home[writer], len(cards)))
        cards.append(_pill(name, "output", last))
    return cards, edges, back


def _first_ways(back: Sequence[tuple[int, int]], placed: Placed) -> list[tuple[int, int]]:
    """Return for each card that the next block reads the topmost that reads it there."""
    first: dict[int, int] = {}
    for source, reader in back:
        first[source] = min(reader, first.get(source, reader), key=placed.layer.__getitem__)
    return list(first.items())


def _inputs(folded: Folded) -> list[Card]:
    """Return the inputs that are not each block's own."""
    shared = {
        wire.name
        for part in folded.parts
        for at in part.nodes
        for wire in folded.wires(part, at)
        if wire.source is None and wire.name not in _own_inputs(folded, part, at)
    }
    return [_pill(each.name, each.type, 0) for each in folded.graph.inputs if each.name in shared]


def _own_inputs(folded: Folded, part: Part, at: int) -> list[str]:
    """Return what a drawn node and its repetitions are each given by the caller."""
    if part.times == 1:
        return []
    again = folded.graph.nodes[at + part.size].inputs
    wires = zip(folded.wires(part, at), again, strict=True)
    return [wire.name for wire, name in wires if wire.source is None and name != wire.name]


def _pill(name: str, said: str, part: int) -> Card:
    lines = (Line(left=name, css="op", height=OP), Line(left=said, css="type"))
    return Card(nodes=(), part=part, lines=lines, title=name, css="pill")


def _groups(folded: Folded, part: Part) -> list[tuple[int, ...]]:
    """Return the nodes of a part, those of a step together."""
    groups: list[list[int]] = []
    for at in part.nodes:
        if groups and folded.graph.nodes[groups[-1][0]].step == folded.graph.nodes[at].step:
            groups[-1].append(at)
        else:
            groups.append([at])
    return [tuple(group) for group in groups]


def _step(folded: Folded, part: Part, group: tuple[int, ...], index: int) -> Card:
    graph, lines = folded.graph, list[Line]()
    weights = [weight for at in group for weight in graph.nodes[at].weights]
    for at in group:
        node = graph.nodes[at]
        plus = "+ " if at != group[0] else ""
        lines += _head(f"{plus}{node.op}", ", ".join(node.attributes))
        lines += [_weight(weight, part) for weight in node.weights]
        lines += [
            Line(left=f"reads {own_name(name)}", css="soft")
            for name in _own_inputs(folded, part, at)
        ]
        lines += [
            Line(left=f"output {own_name(name)}", css="soft") for name in _own_outputs(folded, at)
        ]
    last = graph.nodes[group[-1]]
    lines += [Line(left=value.type, css="type") for value in last.outputs if value.type]
    return Card(
        nodes=group, part=index, lines=tuple(lines), title=_title(graph.nodes[at] for at in group),
        mark=_colour(max(weights, key=lambda weight: weight.bytes)) if weights else "",
    )  # fmt: skip


def _head(op: str, attributes: str) -> list[Line]:
    """Return op and attributes, side by side if they fit."""
    if len(op) + len(attributes) <= BESIDE:
        return [Line(left=op, right=attributes, css="op", height=OP)]
    said = attributes if len(attributes) <= BELOW else f"{attributes[: BELOW - 1]}…"
    return [Line(left=op, css="op", height=OP), Line(left=said, css="soft")]


def _own_outputs(folded: Folded, at: int) -> list[str]:
    """Return what a drawn node and its repetitions each give to the caller."""
    part = next(part for part in folded.parts if at in part.nodes)
    made = [value.name for value in folded.graph.nodes[at].outputs]
    return [name for name in made if part.times > 1 and name in folded.graph.outputs]


def _weight(weight: Weight, part: Part) -> Line:
    shape = f" {TIMES} ".join(map(str, weight.shape)) or "scalar"
    return Line(
        left=weight_name(weight, part), css="weight", mark=_colour(weight),
        right=f"{shape}  {weight.stored}  {_size(weight.bytes)}",
    )  # fmt: skip


def _colour(weight: Weight) -> str:
    return weight.kind if weight.kind in COLOURS else "other"


def _title(nodes: Iterable[Node]) -> str:
    """Return everything about a step as text."""
    lines = []
    for node in nodes:
        made = ", ".join(f"{value.name}: {value.type}" for value in node.outputs)
        lines.append(f"{made} = {node.op}({', '.join((*node.inputs, *node.attributes))})")
        lines += [f"  {weight.name}: {weight.stored} {list(weight.shape)}, {weight.bytes:,} bytes"
                  for weight in node.weights]  # fmt: skip
    return "\n".join(lines)


# ---- places ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Frame:
    top: float
    bottom: float
    left: float
    right: float


def _heights(
    folded: Folded, cards: Sequence[Card], boxes: Sequence[Box], placed: Placed
) -> tuple[list[float], dict[int, _Frame], float]:
    """Return the top of each card, the frame of each part, and the height of the drawing."""
    tops, frames, y = [0.0] * len(cards), {}, MARGIN / 2
    for part in range(len(folded.parts) + 2):
        own = [at for at, card in enumerate(cards) if card.part == part]
        if not own:
            continue
        framed = 0 < part <= len(folded.parts) and folded.parts[part - 1].times > 1
        noted = framed and part_note(folded, folded.parts[part - 1])
        head = FRAME_HEAD + (NOTE if noted else 0.0)
        start, y = y, y + (head + FRAME_PAD / 2 if framed else 0.0)
        for layer in range(min(placed.layer[at] for at in own),
                           max(placed.layer[at] for at in own) + 1):  # fmt: skip
            row = [at for at in own if placed.layer[at] == layer]
            tallest = max((boxes[at].height for at in row), default=0.0)
            for at in row:
                tops[at] = y + (tallest - boxes[at].height) / 2
            y += tallest + APART
        end = y - APART + FRAME_PAD
        left = min(placed.x[at] - boxes[at].width / 2 for at in own) - FRAME_PAD - 14
        right = max(placed.x[at] + boxes[at].width / 2 for at in own) + FRAME_PAD
        lanes = [x for (upper, lower), passed in placed.lanes.items() for x in passed
                 if cards[upper].part <= part <= cards[lower].part]  # fmt: skip
        frames[part - 1] = _Frame(
            start, end, min([left, *(x - FRAME_PAD for x in lanes)]),
            max([right, *(x + FRAME_PAD for x in lanes)]),
        )  # fmt: skip
        y = end + APART if framed else y
    return tops, frames, y - APART + MARGIN / 2


def _frame(folded: Folded, part: Part, placed: Placed, frame: _Frame, shift: float) -> str:
    left, right = max(frame.left, -shift + 2), min(frame.right, placed.width + shift - 2)
    size = f"{_size(part_bytes(folded.graph, part))} each"
    note = part_note(folded, part)
    times = f"{TIMES} {part.times}"
    label = part.label or "equal blocks"
    return (
        f'<rect class="frame" x="{left:.1f}" y="{frame.top:.1f}" width="{right - left:.1f}" '
        f'height="{frame.bottom - frame.top:.1f}" rx="14"/>'
        + _text(left + 18, frame.top + 27, times, "times")
        + _text(left + 18 + 9 * len(times) + 10, frame.top + 27, label, "title")
        + _text(right - 18, frame.top + 27, size, "soft", "end")
        + (_text(left + 18, frame.top + 47, note, "soft") if note else "")
    )


def _wire(
    edge: Edge, cards: Sequence[Card], boxes: Sequence[Box], placed: Placed, tops: Sequence[float]
) -> str:
    """Return an edge: straight beside the cards that it passes, curved between layers."""
    upper, lower = edge
    (x, end), y = placed.ports[edge], tops[upper] + boxes[upper].height
    rows = _rows(boxes, placed, tops)
    path = [f"M{x:.1f} {y:.1f}"]
    for layer, lane in enumerate(placed.lanes[edge], placed.layer[upper] + 1):
        top, bottom = rows.get(layer, (y, y))
        path.append(_curve(x, y, lane, max(top, y)))
        path.append(f"V{max(bottom, top, y):.1f}")
        x, y = lane, max(bottom, top, y)
    path.append(_curve(x, y, end, rows[placed.layer[lower]][0] - 5))
    path.append(f"V{tops[lower] - 5:.1f}")
    tip = f"M{end - 3.5:.1f} {tops[lower] - 6:.1f}h7l-3.5 6z"
    said = escape(f"{cards[upper].title.splitlines()[0]}")
    return (
        f'<path class="wire" d="{"".join(path)}"><title>{said}</title></path>'
        f'<path class="tip" d="{tip}"/>'
    )


def _rows(
    boxes: Sequence[Box], placed: Placed, tops: Sequence[float]
) -> Mapping[int, tuple[float, float]]:
    """Return top and bottom of each layer."""
    rows: dict[int, tuple[float, float]] = {}
    for box, layer, top in zip(boxes, placed.layer, tops, strict=True):
        high, low = rows.get(layer, (top, top))
        rows[layer] = (min(high, top), max(low, top + box.height))
    return rows


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    """Return the way down to a layer: straight, and aside only right above it."""
    bend = max(y, to_y - APART + 4)
    middle = (bend + to_y) / 2
    return f"V{bend:.1f}C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}"


def _way_back(
    pair: tuple[int, int], boxes: Sequence[Box], placed: Placed, tops: Sequence[float],
    left: float,
) -> str:  # fmt: skip
    """Return the dashed way from what a block makes to where the next one reads it."""
    source, reader = pair
    x = placed.x[source] - 12
    y, bottom = tops[source] + boxes[source].height, tops[source] + boxes[source].height + 14
    end, top = placed.x[reader] - 12, tops[reader] - 20
    r = TURN
    path = (
        f"M{x:.1f} {y:.1f}V{bottom - r:.1f}q0 {r} {-r} {r}H{left + r:.1f}q{-r} 0 {-r} {-r}"
        f"V{top + r:.1f}q0 {-r} {r} {-r}H{end - r:.1f}q{r} 0 {r} {r}V{tops[reader] - 5:.1f}"
    )
    tip = f"M{end - 3.5:.1f} {tops[reader] - 6:.1f}h7l-3.5 6z"
    return (
        f'<path class="back" d="{path}"><title>to the next block</title></path>'
        f'<path class="back-tip" d="{tip}"/>'
    )


def _card(card: Card, box: Box, x: float, top: float) -> str:
    left, right = x - box.width / 2, x + box.width / 2
    radius = box.height / 2 if card.css == "pill" else 8
    drawn = [
        f'<rect class="{card.css}" x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="{radius:g}"/>'
    ]
    if card.mark:
        drawn.append(
            f'<rect class="{card.mark}" x="{left:.1f}" y="{top + 8:.1f}" width="4" '
            f'height="{box.height - 16:.1f}"/>'
        )
    y = top + PAD - 2
    for line in card.lines:
        y += line.height
        base = y - (line.height - 12) / 2 - 1
        inner = left + PAD + 6
        if card.css == "pill":
            drawn.append(_text(x, base, line.left, line.css, "middle"))
            continue
        if line.mark:
            drawn.append(
                f'<rect class="{line.mark}" x="{inner:.1f}" y="{base - 8.5:.1f}" width="9" '
                'height="9" rx="2"/>'
            )
        room = box.width - 2 * PAD - 8 - SMALL * len(line.right)
        drawn.append(_text(inner + (15 if line.mark else 0), base, _fit(line, room), line.css))
        if line.right:
            drawn.append(_text(right - PAD - 2, base, line.right, "soft", "end"))
    return f"<g><title>{escape(card.title)}</title>{''.join(drawn)}</g>"


def _fit(line: Line, room: float) -> str:
    """Return the left text, cut where it would reach the right one; its end says most."""
    each = {"op": BOLD, "type": 6.7}.get(line.css, PLAIN)
    most = max(4, int(room / each))
    return line.left if len(line.left) <= most + 1 else f"…{line.left[-most:]}"


def _text(x: float, y: float, text: str, css: str = "", anchor: str = "") -> str:
    words = f'x="{x:.1f}" y="{y:.1f}"'
    words += f' class="{css}"' if css else ""
    words += f' text-anchor="{anchor}"' if anchor else ""
    return f"<text {words}>{escape(text)}</text>"


def _size(count: int) -> str:
    """Return bytes as a person says them."""
    if count < KIBI:
        return f"{count} B"
    if count < KIBI * KIBI:
        return f"{count / KIBI:.3g} KiB" if count < 1000 * KIBI else f"{count // KIBI} KiB"
    size, unit = count / KIBI**2, "MiB"
    if size >= KIBI:
        size, unit = size / KIBI, "GiB"
    return f"{size:.3g} {unit}"
