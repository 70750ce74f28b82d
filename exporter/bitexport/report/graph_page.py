"""A graph as one page: no script, no other file, every string escaped."""

from __future__ import annotations

import collections
from html import escape
from string import Template

from bitexport.report.fold import Folded, fold
from bitexport.report.graph import Graph
from bitexport.report.graph_drawing import STYLE, draw
from bitexport.report.graph_text import graph_text, summary, total_bytes
from bitexport.report.palette import COLOURS

NAMES = {"tables": "RoPE tables", "scales": "weight scales", "norms": "norms", "other": "other"}

TEMPLATE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$name: the graph</title>
<style>
$style
* { box-sizing: border-box }
body { margin: 0; padding: 2.5rem 1.25rem 4rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
header, details { max-width: 60rem; margin: 0 auto }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere }
p { margin: .4rem 0 }
.soft, summary { color: var(--soft) }
.key { margin: 1.1rem 0 1.6rem; font-size: .9rem }
.key span { display: inline-block; margin-right: 1.4em; white-space: nowrap }
.key i { display: inline-block; width: .75em; height: .75em; margin-right: .45em;
  border-radius: 2px }
.key b { font-weight: 600; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto }
.wide svg { margin: 0 auto }
summary { cursor: pointer }
details { margin-top: 2.5rem }
pre { font: 12px/1.45 ui-monospace, monospace; margin: .8rem 0 }
</style>
</head>
<body>
<header>
<h1>$name</h1>
<p>$summary</p>
<p class="soft">$about.  A card is a step: ops that run as one stand in one card.  Weights have
their shape, how they are stored, and their bytes; at the foot of a card is what it makes.
$dashed</p>
<p class="key">$key</p>
</header>
<div class="wide">$drawing</div>
<details><summary>The same as text</summary><div class="wide"><pre>$text</pre></div></details>
</body>
</html>
""")


def graph_page(graph: Graph) -> str:
    """Return the page."""
    folded = fold(graph)
    text = {
        "name": graph.name, "summary": summary(graph), "about": graph.about[:1].upper()
        + graph.about[1:], "dashed": _dashed(folded), "text": graph_text(graph),
    }  # fmt: skip
    return TEMPLATE.substitute(
        {key: escape(value) for key, value in text.items()},
        style=STYLE, key=_key(graph), drawing=draw(folded),
    )  # fmt: skip


def _dashed(folded: Folded) -> str:
    if all(part.times == 1 for part in folded.parts):
        return ""
    return "A frame is a block that repeats; the dashed line leads into the next one."


def _key(graph: Graph) -> str:
    """Return what the colours mean, and how many bytes have each."""
    groups = collections.defaultdict(list)
    for weight in graph.weights.values():
        groups[weight.kind].append(weight)
    order = [*COLOURS, *(kind for kind in groups if kind not in COLOURS)]
    return "".join(
        f'<span><i class="{kind if kind in COLOURS else "other"}"></i>'
        f"{escape(NAMES.get(kind, kind))} <b>{total_bytes(groups[kind]):,}</b> bytes</span>"
        for kind in order
        if kind in groups
    )
