"""Counted kernels as a page: a plot for each instruction set, ours beside others and the bar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from bitexport.bench.compare import SCALAR, Contest, Line, missing
from bitexport.bench.drawing import Limit, Mark, bars, key, table
from bitexport.bench.page import whole_page

TITLE = "Instructions per 64 weights"
LEAD = (
    "What a matrix kernel costs for each vector, the whole call counted under QEMU: the same "
    "number on every machine.  Of ours, the worst of the matrices of BitNet b1.58 2B4T; shorter is "
    "better.  Instructions are not cycles: they say how much work there is, not how long it takes."
)
KEY = (("ours", "ours"), ("other", "others"), ("bar", "the bar that the house has set"))
ALONE = "nobody to compare with"


def kernels_page(lines: Sequence[Line]) -> str:
    """Return the page."""
    shown = [line for line in lines if line.contest.isa != SCALAR]
    places = dict.fromkeys((line.contest.target, line.contest.isa) for line in shown)
    body = [key(KEY)]
    body += [_section(target, isa, shown) for target, isa in places]
    body += [_missing(missing(lines)), _sources(line.contest for line in shown)]
    return whole_page(TITLE, LEAD, "\n".join(body))


def _section(target: str, isa: str, lines: Iterable[Line]) -> str:
    """Return the plots of an instruction set: one for each contest with a bar or with others."""
    own = [line for line in lines if (line.contest.target, line.contest.isa) == (target, isa)]
    plots: dict[str, list[Line]] = {}
    for line in sorted(own, key=_is_alone):
        weights = ALONE if _is_alone(line) else line.contest.weights
        plots.setdefault(f"{line.contest.phase}, {weights}", []).append(line)
    drawn = (
        f"<div><h3>{escape(title)}</h3>\n{_plot(entered, title)}</div>"
        for title, entered in plots.items()
    )
    inside = "\n".join(drawn)
    return f'<h2>{escape(target)}, {escape(isa)}</h2>\n<div class="pair">{inside}</div>'


def _is_alone(line: Line) -> bool:
    return line.contest.bar is None and not line.contest.peers


def _plot(lines: Sequence[Line], title: str) -> str:
    """Return a bar for each line and for each peer of their contest, the best first."""
    contest = lines[0].contest
    marks = [Mark(_own_name(line), line.worst, f"{line.worst:.2f}", "ours") for line in lines]
    marks += [Mark(peer.name, peer.cost, f"{peer.cost:.2f}", "other") for peer in contest.peers]
    marks.sort(key=lambda mark: mark.value)
    limit = None if contest.bar is None else Limit(contest.bar, f"{contest.bar:g}")
    about = f"instructions per 64 weights: {contest.target}, {contest.isa}, {title}"
    return bars(marks, about, limit)


def _own_name(line: Line) -> str:
    vectors = f", {line.columns} vectors" if line.columns > 1 else ""
    return f"{line.kernel}{vectors}"


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
        (peer.name, contest.target, peer.source): None
        for contest in contests
        for peer in contest.peers
    }
    return (
        "<h2>Whose they are</h2>\n<p>Nobody publishes counts: these are of their own code, by the "
        f"same method.</p>\n{table(('name', 'target', 'source'), rows)}"
    )
