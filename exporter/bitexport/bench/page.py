"""What the pages of `bench` have in common: one style, light and dark, no script, no other file."""

from __future__ import annotations

from html import escape
from string import Template

TEMPLATE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { --page: #fcfcfb; --ink: #1a1a19; --soft: #62625d; --line: #dfded8; --box: #f3f2ee;
  --ours: #2a78d6; --other: #b9b8b0; --limit: #d4527e; --roof: #8a8983;
  --c1: #2a78d6; --c2: #1b9e77; --c3: #e0a100; --c4: #9a5fc8; --c5: #d4527e; --c6: #5bb6e8;
  --c7: #9c5f2e; --c8: #a3a29b }
@media (prefers-color-scheme: dark) {
:root { --page: #181817; --ink: #ecebe6; --soft: #a3a29b; --line: #3a3a37; --box: #232322;
  --ours: #4a94ea; --other: #5d5c56; --limit: #e0719a; --roof: #8d8c85;
  --c1: #4a94ea; --c2: #2fb48c; --c3: #d9a520; --c4: #b184dc; --c5: #e0719a; --c6: #2f89bb;
  --c7: #c98a55; --c8: #76756f } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 60rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere }
h2 { margin: 2.75rem 0 .25rem; font-size: 1.15rem; overflow-wrap: anywhere }
h3 { margin: 1.4rem 0 .3rem; font-size: 1rem; font-weight: 500; color: var(--soft) }
p, li { max-width: 46rem }
p { margin: .4rem 0 .8rem }
.soft, th, summary { color: var(--soft) }
summary { cursor: pointer }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem;
  margin: 1.5rem 0 0 }
.tiles div, .cards > div { padding: .7rem .9rem; background: var(--box); border-radius: .5rem }
.tiles dt { color: var(--soft); font-size: .85rem }
.tiles dd { margin: 0; font-size: 1.25rem; font-weight: 600; overflow-wrap: anywhere }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
  gap: 0 2.5rem }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr));
  gap: .75rem; margin: .75rem 0 }
.cards h3 { margin: 0; color: var(--ink) }
.cards p { margin: 0; font-size: .85rem; color: var(--soft) }
.key span { display: inline-block; margin-right: 1.2em }
.key i { display: inline-block; width: .75em; height: .75em; margin-right: .4em;
  border-radius: 2px }
svg { display: block; margin: .35rem 0 .6rem; overflow: visible }
svg text { fill: var(--ink); font-size: 13px; font-variant-numeric: tabular-nums;
  paint-order: stroke; stroke: var(--page); stroke-width: 4px }
svg text.value { font-weight: 600 }
svg text.soft { fill: var(--soft) }
svg text.tick { font-size: 11px }
svg .grid { stroke: var(--line) }
svg .one { stroke: var(--soft) }
svg .stem { stroke: var(--other); stroke-width: 2px }
svg .roof { stroke: var(--roof); stroke-width: 2px }
svg .limit { stroke: var(--limit); stroke-width: 1.5px; stroke-dasharray: 4 3 }
svg text.limit-text { fill: var(--limit) }
svg circle { stroke: var(--page); stroke-width: 1.5px }
.cards svg circle, .cards svg text { stroke: var(--box) }
.ours { fill: var(--ours); background: var(--ours) }
.other { fill: var(--other); background: var(--other) }
.bar { background: var(--limit) }
.c1, .layers { fill: var(--c1); background: var(--c1) }
.c2, .head { fill: var(--c2); background: var(--c2) }
.c3, .attention { fill: var(--c3); background: var(--c3) }
.c4 { fill: var(--c4); background: var(--c4) }
.c5 { fill: var(--c5); background: var(--c5) }
.c6 { fill: var(--c6); background: var(--c6) }
.c7 { fill: var(--c7); background: var(--c7) }
.c8, .rest { fill: var(--c8); background: var(--c8) }
.wide { overflow-x: auto }
table { border-collapse: collapse; margin: .5rem 0 1rem }
th, td { padding: .22rem 1.4rem .22rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line) }
th { font-weight: 500; font-size: .85rem }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
td:first-child { white-space: nowrap }
</style>
</head>
<body>
<h1>$title</h1>
<p class="soft">$lead</p>
$body
</body>
</html>
""")


def whole_page(title: str, lead: str, body: str) -> str:
    """Return a page; title and lead are text, the body is HTML."""
    return TEMPLATE.substitute(title=escape(title), lead=escape(lead), body=body)


def tiles(facts: dict[str, str]) -> str:
    """Return the few numbers that matter most, large."""
    made = (f"<div><dt>{escape(key)}</dt><dd>{escape(fact)}</dd></div>"
            for key, fact in facts.items())  # fmt: skip
    return f'<dl class="tiles">{"".join(made)}</dl>'
