"""Plots as inline SVG: widths in percent, so that text keeps its size on a phone; no script.

Every string is escaped here.  Colours are classes of page.py's style.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

ROW, BAR, TOP = 38, 12, 16  # pixels: of a bar with its name above it; of a bar; for a limit's name
STACK_ROW, STACK = 44, 18
MIDDLE = 50  # percent
LABEL = 78  # pixels from the left: where a name begins, behind its number
STRIP_ROW, STRIP_TOP = 40, 20
ROOF_HEAD, ROOF, ROOF_FOOT = 14, 140, 20  # pixels: above a roofline's plot, of it, and below


@dataclasses.dataclass(frozen=True)
class Mark:
    """A bar, or a point on a scale."""

    name: str
    value: float
    label: str  # the value as text
    css: str


@dataclasses.dataclass(frozen=True)
class Limit:
    """A line across bars."""

    value: float
    label: str


@dataclasses.dataclass(frozen=True)
class Stack:
    """A bar made of parts, by class; their sum is the whole width."""

    name: str
    label: str
    parts: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Spot:
    """A point under a roof: so many instructions for a byte, and bytes a second."""

    name: str
    intensity: float
    rate: float
    css: str


def bars(marks: Sequence[Mark], about: str, limit: Limit | None = None) -> str:
    """Return bars from a common zero, each below its number and name."""
    most = max([limit.value if limit else 0.0, *(mark.value for mark in marks)]) or 1.0
    top = TOP if limit else 0
    height = top + ROW * len(marks)
    rows = [(top + ROW * at, mark) for at, mark in enumerate(marks)]
    drawn = [
        _bar(mark.css, 0.0, 100 * mark.value / most, y + 21, BAR, _said(mark)) for y, mark in rows
    ]
    if limit is not None:  # above bars, below names
        x = 100 * limit.value / most
        drawn.append(f'<line class="limit" x1="{x:.2f}%" x2="{x:.2f}%" y1="{TOP}" y2="{height}"/>')
        side = "end" if x > MIDDLE else ""
        drawn.append(_text(f"{x:.2f}%", TOP - 4, limit.label, "limit-text", side))
    for y, mark in rows:
        drawn.append(_text(LABEL - 10, y + 15, mark.label, "value", "end"))
        drawn.append(_text(LABEL, y + 15, mark.name))
    return _svg(height, about, drawn)


def stacks(rows: Sequence[Stack], about: str) -> str:
    """Return full bars, cut by shares, each below its number and name."""
    drawn = []
    for at, row in enumerate(rows):
        y, x = STACK_ROW * at, 0.0
        drawn.append(_text(LABEL - 10, y + 15, row.label, "value", "end"))
        drawn.append(_text(LABEL, y + 15, row.name))
        whole = sum(row.parts.values()) or 1.0
        for css, part in row.parts.items():
            width = 100 * part / whole
            drawn.append(_bar(css, x, width, y + 21, STACK, f"{row.name}: {css} {width:.1f} %"))
            x += width
    return _svg(STACK_ROW * len(rows), about, drawn)


def ratios(marks: Sequence[Mark], low: float, high: float, about: str) -> str:
    """Return points on a logarithmic scale, where a half, 1 and 2 are marked."""

    def at(value: float) -> float:
        return 100 * math.log(value / low) / math.log(high / low)

    height = STRIP_TOP + STRIP_ROW * len(marks)
    drawn = [
        f'<line class="{css}" x1="{at(value):.2f}%" x2="{at(value):.2f}%" y1="{STRIP_TOP - 2}" '
        f'y2="{height}"/>'
        + _text(f"{at(value):.2f}%", STRIP_TOP - 7, f"{value:g}", "soft", "middle")
        for value, css in ((0.5, "grid"), (1.0, "one"), (2.0, "grid"))
    ]
    for row, mark in enumerate(marks):
        y, x = STRIP_TOP + STRIP_ROW * row, at(mark.value)
        drawn.append(_text(0, y + 14, mark.name))
        drawn.append(
            f'<line class="stem" x1="{at(1):.2f}%" x2="{x:.2f}%" y1="{y + 27}" y2="{y + 27}"/>'
            f'<circle class="{mark.css}" cx="{x:.2f}%" cy="{y + 27}" r="5">'
            f"<title>{escape(_said(mark))}</title></circle>"
        )
        beyond = x > at(1)
        aside, anchor = (10, "") if beyond else (-10, "end")
        drawn.append(_text(f"{x:.2f}%", y + 31.5, mark.label, "value", anchor, aside))
    return _svg(height, about, drawn)


def roof(
    spots: Sequence[Spot], *, bandwidth: float, instructions: float, about: str,
    spans: tuple[tuple[float, float], tuple[float, float]],
) -> str:  # fmt: skip
    """Return a roofline: what memory and cores allow, and where each part of a token lies.

    Across: instructions for a byte; up: bytes a second; both by powers, `spans` from and to.
    """
    (left, right), (low, high) = spans

    def across(value: float) -> float:
        return 100 * math.log(value / left) / math.log(right / left)

    def up(value: float) -> float:
        return ROOF_HEAD + ROOF * (1 - math.log(value / low) / math.log(high / low))

    ridge = min(max(instructions / bandwidth, left), right)
    flat = min(bandwidth, instructions / ridge)
    end = max(instructions / right, low)
    drawn = [
        f'<line class="grid" x1="0" x2="100%" y1="{up(rate):.1f}" y2="{up(rate):.1f}"/>'
        + _text("100%", up(rate) - 3, _giga(rate), "soft tick", "end")
        for rate in _powers(low, high)
    ]
    drawn += [
        _text(f"{across(value):.2f}%", ROOF_HEAD + ROOF + 14, f"{value:g}", "soft tick",
              "start" if value == left else "end" if value == right else "middle")
        for value in _powers(left, right)
    ]  # fmt: skip
    drawn += [
        f'<line class="roof" x1="0" x2="{across(ridge):.2f}%" y1="{up(flat):.1f}" '
        f'y2="{up(flat):.1f}"/>',
        f'<line class="roof" x1="{across(ridge):.2f}%" x2="{across(instructions / end):.2f}%" '
        f'y1="{up(flat):.1f}" y2="{up(end):.1f}"/>',
    ]
    drawn += [
        f'<circle class="{spot.css}" cx="{across(min(max(spot.intensity, left), right)):.2f}%" '
        f'cy="{up(min(max(spot.rate, low), high)):.1f}" r="6"><title>{escape(spot.name)}: '
        f"{spot.intensity:.2g} instructions for a byte, {spot.rate / 1e9:.3g} GB/s</title></circle>"
        for spot in spots
    ]
    return _svg(ROOF_HEAD + ROOF + ROOF_FOOT, about, drawn)


def key(entries: Iterable[tuple[str, str]]) -> str:
    """Return what the colours mean, class and meaning each."""
    items = "".join(f'<span><i class="{css}"></i>{escape(text)}</span>' for css, text in entries)
    return f'<p class="key">{items}</p>'


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """Return a table that scrolls on its own; the columns of these numbers are aligned right."""
    right = set(numbers)

    def line(tag: str, cells: Sequence[str]) -> str:
        made = (
            f"<{tag}{' class=n' if at in right else ''}>{escape(cell)}</{tag}>"
            for at, cell in enumerate(cells)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "\n".join(line("td", row) for row in rows)
    head = line("th", titles)
    return f'<div class="wide"><table><thead>{head}</thead><tbody>\n{body}\n</tbody></table></div>'


def number(value: float) -> str:
    """Return a number with three digits, two if it is below 1, more if they are whole."""
    whole = len(f"{value:.0f}") if value >= 1 else 0
    return f"{value:,.{max(0, 3 - whole)}f}" if whole else f"{value:#.2g}"


def _svg(height: float, about: str, drawn: Iterable[str]) -> str:
    return (
        f'<svg width="100%" height="{height:g}" role="img" aria-label="{escape(about)}">'
        f"{''.join(drawn)}</svg>"
    )


def _text(
    x: float | str, y: float, text: str, css: str = "", anchor: str = "", aside: float = 0
) -> str:
    """Return a text at x, pixels or a string in percent, and so many pixels aside."""
    words = [f'x="{x}"' if isinstance(x, str) else f'x="{x:g}"', f'y="{y:g}"']
    words += [f'dx="{aside:g}"'] * (aside != 0)
    words += [f'class="{css}"'] * (css != "") + [f'text-anchor="{anchor}"'] * (anchor != "")
    return f"<text {' '.join(words)}>{escape(text)}</text>"


def _bar(css: str, x: float, width: float, y: float, height: float, title: str) -> str:
    return (
        f'<rect class="{css}" x="{x:.2f}%" y="{y:g}" width="{width:.2f}%" height="{height}" '
        f'rx="2"><title>{escape(title)}</title></rect>'
    )


def _said(mark: Mark) -> str:
    return f"{mark.name}: {mark.label}"


def _powers(low: float, high: float) -> list[float]:
    """Return the powers of ten between two numbers, both included."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    return [10.0**power for power in range(first, last + 1)]


def _giga(rate: float) -> str:
    return f"{rate / 1e9:g} GB/s"
