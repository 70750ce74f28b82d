"""The comparison as one page: a plot for each instruction set, no script, no other file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from string import Template

from bitexport.bench.compare import SCALAR, Contest, Line, missing

TEMPLATE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Instructions per 64 weights</title>
<style>
:root { --page: #fcfcfb; --ink: #1a1a19; --soft: #62625d; --line: #dfded8; --ours: #2a78d6;
  --other: #b9b8b0; --bar: #d4527e }
@media (prefers-color-scheme: dark) {
:root { --page: #181817; --ink: #ecebe6; --soft: #a3a29b; --line: #3a3a37; --ours: #4a94ea;
  --other: #5d5c56; --bar: #e0719a } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 60rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25 }
h2 { margin: 2.5rem 0 .25rem; font-size: 1.15rem }
h3 { margin: 1.1rem 0 0; font-size: 1rem; font-weight: 500; color: var(--soft) }
p { margin: .4rem 0 .8rem; max-width: 46rem }
.soft, th { color: var(--soft) }
.key i { display: inline-block; width: .75em; height: .75em; margin: 0 .4em 0 1.2em;
  border-radius: 2px }
.key i:first-child { margin-left: 0 }
svg { display: block; width: 100%; height: auto; margin: .35rem 0 .6rem }
svg text { fill: var(--ink); font-size: 13px; font-variant-numeric: tabular-nums;
  paint-order: stroke; stroke: var(--page); stroke-width: 4px }
svg .soft { fill: var(--soft) }
svg .grid { stroke: var(--line) }
svg .limit { stroke: var(--bar); stroke-width: 1.5px; stroke-dasharray: 4 3 }
svg .limit-text { fill: var(--bar) }
.ours { fill: var(--ours); background: var(--ours) }
.other { fill: var(--other); background: var(--other) }
.bar { background: var(--bar) }
.wide { overflow-x: auto }
table { border-collapse: collapse; margin: .5rem 0 1rem }
th, td { padding: .22rem 1.4rem .22rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line) }
th { font-weight: 500; font-size: .85rem }
.n { text-align: right; font-variant-numeric: tabular-nums }
</style>
</head>
<body>
<h1>Instructions per 64 weights</h1>
<p class="soft">What a matrix kernel costs for each vector, the whole call counted under QEMU: the
same number on every machine.  Of ours, the worst of the matrices of BitNet b1.58 2B4T; shorter is
better.  Instructions are not cycles: they say how much work there is, not how long it takes.</p>
<p class="key"><i class="ours"></i>ours<i class="other"></i>others<i class="bar"></i>the bar that
the house has set</p>
$sections
$missing
<h2>Whose they are</h2>
<p>Nobody publishes counts: these are of their own code, by the same method.</p>
$sources
</body>
</html>
""")

# Of a plot, in units of its view box: where bars begin, what is left free beside and above them,
# the height of a row and of a bar; and how many parts an axis has at most.
WIDTH, LEFT, RIGHT, TOP, ROW, BAR, PARTS = 900, 230, 130, 18, 26, 17, 8


@dataclasses.dataclass(frozen=True)
class Mark:
    """One bar of a plot."""

    name: str
    cost: float
    css: str


def render_page(lines: Sequence[Line]) -> str:
    """Return the page."""
    shown = [line for line in lines if line.contest.isa != SCALAR]
    places = dict.fromkeys((line.contest.target, line.contest.isa) for line in shown)
    return TEMPLATE.substitute(
        sections="\n".join(_section(target, isa, shown) for target, isa in places),
        missing=_missing(missing(lines)),
        sources=_sources(line.contest for line in shown),
    )


def _section(target: str, isa: str, lines: Iterable[Line]) -> str:
    """Return the plots of an instruction set: one for each contest with a bar or with others."""
    own = [line for line in lines if (line.contest.target, line.contest.isa) == (target, isa)]
    plots: dict[str, list[Line]] = {}
    for line in sorted(own, key=_is_alone):
        weights = "nobody to compare with" if _is_alone(line) else line.contest.weights
        plots.setdefault(f"{line.contest.phase}, {weights}", []).append(line)
    drawn = (f"<h3>{escape(title)}</h3>\n{_plot(entered)}" for title, entered in plots.items())
    return "\n".join([f"<h2>{escape(target)}, {escape(isa)}</h2>", *drawn])


def _is_alone(line: Line) -> bool:
    return line.contest.bar is None and not line.contest.peers


def _plot(lines: Sequence[Line]) -> str:
    """Return a drawing: a bar for each line and for each peer of their contest."""
    contest = lines[0].contest
    marks = [Mark(_own_name(line), line.worst, "ours") for line in lines]
    marks += [Mark(peer.name, peer.cost, "other") for peer in contest.peers]
    marks.sort(key=lambda mark: mark.cost)
    most = max([contest.bar or 0.0, *(mark.cost for mark in marks)])
    bottom = TOP + ROW * len(marks)
    scale = (WIDTH - LEFT - RIGHT) / most
    rows = [(TOP + at * ROW, mark) for at, mark in enumerate(marks)]
    drawn = [*_axis(most, scale, bottom)]
    drawn += [
        f'<rect class="{mark.css}" x="{LEFT}" y="{y + (ROW - BAR) / 2}" '
        f'width="{mark.cost * scale:.1f}" height="{BAR}" rx="2"/>'
        for y, mark in rows
    ]
    if contest.bar is not None:
        x = LEFT + contest.bar * scale
        drawn.append(
            f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 3}" y2="{bottom}"/>'
            f'<text class="limit-text" x="{x:.1f}" y="{TOP - 6}" text-anchor="middle">'
            f"{contest.bar:g}</text>"
        )
    drawn += [
        f'<text x="{LEFT - 10}" y="{middle}" text-anchor="end">{escape(mark.name)}</text>'
        f'<text x="{LEFT + mark.cost * scale + 7:.1f}" y="{middle}">{mark.cost:.2f}</text>'
        for y, mark in rows
        for middle in [y + ROW / 2 + 4.5]
    ]
    return f'<svg viewBox="0 0 {WIDTH} {bottom + 22}" role="img">{"".join(drawn)}</svg>'


def _axis(most: float, scale: float, bottom: float) -> Iterator[str]:
    step = _step(most)
    for at in range(int(most / step) + 1):
        x = LEFT + at * step * scale
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>'
        yield f'<text class="soft" x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">'
        yield f"{at * step:g}</text>"


def _own_name(line: Line) -> str:
    vectors = f", {line.columns} vectors" if line.columns > 1 else ""
    return f"{line.kernel}{vectors}"


def _step(most: float) -> float:
    """Return a round distance that cuts an axis into few parts."""
    power: float = 10.0 ** math.floor(math.log10(most / PARTS))
    return next(power * factor for factor in (1, 2, 5, 10) if most / (power * factor) <= PARTS)


def _missing(places: Sequence[Contest]) -> str:
    """Return what nothing is measured for, though there is a bar."""
    if not places:
        return ""
    items = "\n".join(
        f"<li>{escape(f'{place.target}, {place.isa}, {place.phase}, {place.weights}')}: "
        f"the bar is {place.bar:g}</li>"
        for place in places
    )
    return f"<h2>Not in these plots</h2>\n<ul>\n{items}\n</ul>"


def _sources(contests: Iterable[Contest]) -> str:
    rows = {
        (contest.target, peer.name, peer.source): None
        for contest in contests
        for peer in contest.peers
    }
    cells = "\n".join(
        f"<tr><td>{escape(name)}</td><td>{escape(target)}</td><td>{escape(source)}</td></tr>"
        for target, name, source in rows
    )
    head = "<tr><th>name</th><th>target</th><th>source</th></tr>"
    return f'<div class="wide"><table><thead>{head}</thead><tbody>\n{cells}\n</tbody></table></div>'
