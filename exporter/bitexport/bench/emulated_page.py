"""A counted token as a page: its instructions by op, on each emulated core."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bitexport.bench.drawing import Mark, bars, number, table
from bitexport.bench.emulated import ModelCount, TokenCount
from bitexport.bench.page import tiles, whole_page

SHOWN = 12  # steps of a plot; the table has all
MEGA = 1e6


def emulated_page(counts: Sequence[ModelCount]) -> str:
    """Return the page."""
    lead = (
        "Guest instructions of one token, one thread, fused as a session runs it, counted under "
        "QEMU with the library that the bundle ships: the same numbers on every machine."
    )
    return whole_page(counts[0].name, lead, "\n".join(_section(count) for count in counts))


def _section(count: ModelCount) -> str:
    title = f"{count.target}, {count.core}, {count.isa}"
    facts = {
        f"behind {token.context:,} tokens": f"{number(token.instructions / MEGA)} M"
        for token in count.tokens
    }
    cost = count.per_weight(count.tokens[0].instructions)
    if cost is not None:
        facts[f"per ternary weight, behind {count.tokens[0].context:,}"] = f"{cost:.3f}"
    drawn = (
        f"<div><h3>million instructions behind {token.context:,} tokens</h3>\n"
        f"{bars(_marks(token), f'{title}, behind {token.context} tokens')}</div>"
        for token in count.tokens
    )
    return (
        f"<h2>{escape(title)}</h2>\n{tiles(facts)}\n"
        f'<div class="pair">{"".join(drawn)}</div>\n{_table(count)}'
    )


def _marks(token: TokenCount) -> list[Mark]:
    largest = sorted(token.steps.items(), key=lambda item: -item[1])[:SHOWN]
    return [Mark(name, cost / MEGA, number(cost / MEGA), "ours") for name, cost in largest]


def _table(count: ModelCount) -> str:
    steps = dict.fromkeys(step for token in count.tokens for step in token.steps)
    titles = ("op or fusion", *(f"behind {token.context:,}" for token in count.tokens))
    rows = [(step, *(f"{token.steps.get(step, 0):,}" for token in count.tokens)) for step in steps]
    made = table(titles, rows, range(1, len(titles)))
    return f"<details><summary>All numbers</summary>\n{made}</details>"
