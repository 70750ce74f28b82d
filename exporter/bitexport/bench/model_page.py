"""A timed model as a page: speed by context and threads, memory used, and where the time goes."""

from __future__ import annotations

from collections.abc import Sequence

from bitexport.bench.drawing import Limit, Mark, Stack, bars, key, number, stacks, table
from bitexport.bench.model import ModelBench, Point, Run
from bitexport.bench.page import tiles, whole_page

COLOURS = ("c1", "c2", "c3", "c4", "c5", "c6", "c7")
OTHERS = "c8"  # ops beyond the colours, together
MEGA, GIGA, MILLI = 1e6, 1e9, 1e-3


def model_page(bench: ModelBench) -> str:
    """Return the page."""
    lead = (
        f"Timed on this machine: {bench.file_bytes / MEGA:.1f} MB, of which a token reads "
        f"{bench.weight_bytes / MEGA:.1f} MB.  Decode is the median of {bench.decode_tokens} "
        f"tokens, prefill is of {bench.prefill_tokens} tokens.  Times depend on who else uses the "
        "machine."
    )
    body = [tiles(_best(bench)), _speeds(bench), _memory(bench), _shares(bench), _numbers(bench)]
    return whole_page(bench.name, lead, "\n".join(body))


def _best(bench: ModelBench) -> dict[str, str]:
    """Return the best speeds of all runs, and what the first of them needs."""
    points = [point for run in bench.runs for point in run.points]
    decode = max((point.decode for point in points if point.decode), default=None)
    prefill = max((point.prefill for point in points if point.prefill), default=None)
    first = bench.runs[0]
    return {
        "decode, tokens/s": _rate(decode),
        "prefill, tokens/s": _rate(prefill),
        "first token": f"{first.first_token_seconds / MILLI:.1f} ms",
        "peak resident": f"{first.peak_bytes / MEGA:.1f} MB",
    }


def _speeds(bench: ModelBench) -> str:
    """Return both kinds of speed, a bar for each context and number of threads."""
    drawn = [
        f"<div><h3>{title}</h3>\n{bars(marks, title)}</div>"
        for phase, title in (("decode", "decode, tokens/s"), ("prefill", "prefill, tokens/s"))
        if (marks := [mark for run in bench.runs for mark in _marks(run, phase)])
    ]
    return f'<h2>Speed</h2>\n<div class="pair">{"".join(drawn)}</div>'


def _marks(run: Run, phase: str) -> list[Mark]:
    def speed(point: Point) -> float | None:
        return point.decode if phase == "decode" else point.prefill

    return [
        Mark(f"{_threads(run)}, behind {point.context:,} tokens", rate, _rate(rate), "ours")
        for point in run.points
        if (rate := speed(point)) is not None
    ]


def _memory(bench: ModelBench) -> str:
    """Return the weights that decode reads a second against the machine's memory."""
    drawn = []
    for run in bench.runs:
        rate = run.weight_rate(bench.weight_bytes)
        if rate is not None:
            mark = Mark(f"weights, {_threads(run)}", rate / GIGA, f"{rate / GIGA:.1f}", "ours")
            limit = Limit(run.read_rate / GIGA, f"memory {run.read_rate / GIGA:.1f}")
            drawn.append(f"<div>{bars([mark], f'GB/s with {_threads(run)}', limit)}</div>")
    return (
        "<h2>Weights read, GB/s</h2>\n<p>In decode, at the first context, against memory read in "
        "order by the same threads: the roof over decode, unless the weights stay in cache.</p>\n"
        f'<div class="pair">{"".join(drawn)}</div>'
    )


def _shares(bench: ModelBench) -> str:
    """Return what share of an unfused token each op takes."""
    colours = _colours(bench)
    rows = []
    for run in bench.runs:
        parts = dict.fromkeys((*colours.values(), OTHERS), 0.0)
        for op, share in run.op_shares.items():
            parts[colours.get(op, OTHERS)] += share
        label = f"{run.unfused_token_seconds / MILLI:.2g} ms"
        rows.append(Stack(_threads(run), label, {css: part for css, part in parts.items() if part}))
    named = [(css, op) for op, css in colours.items()]
    rest = [(OTHERS, "all others")] if len(bench.runs[0].op_shares) > len(colours) else []
    return (
        "<h2>Where the time goes</h2>\n<p>Of a token run op by op, unfused, at context 0.</p>\n"
        f"{key([*named, *rest])}\n{stacks(rows, 'share of each op')}"
    )


def _colours(bench: ModelBench) -> dict[str, str]:
    """Return the ops that take most, each with its colour."""
    shares = bench.runs[0].op_shares
    return dict(zip(sorted(shares, key=lambda op: -shares[op]), COLOURS, strict=False))


def _numbers(bench: ModelBench) -> str:
    ops = dict.fromkeys(op for run in bench.runs for op in run.op_shares)
    titles = ("", *(_threads(run) for run in bench.runs))
    facts: list[Sequence[str]] = [
        ("opened", *(f"{run.open_seconds / MILLI:.1f} ms" for run in bench.runs)),
        ("first token", *(f"{run.first_token_seconds / MILLI:.1f} ms" for run in bench.runs)),
        ("arena", *(f"{run.arena_bytes / MEGA:.1f} MB" for run in bench.runs)),
        ("peak resident", *(f"{run.peak_bytes / MEGA:.1f} MB" for run in bench.runs)),
        ("memory read in order", *(f"{run.read_rate / GIGA:.1f} GB/s" for run in bench.runs)),
    ]
    facts += [(op, *(f"{run.op_shares.get(op, 0):.1%}" for run in bench.runs)) for op in ops]
    return "<h2>All numbers</h2>\n" + table(titles, facts, range(1, len(titles)))


def _threads(run: Run) -> str:
    return f"{run.threads} thread{'s' if run.threads > 1 else ''}"


def _rate(rate: float | None) -> str:
    return "" if rate is None else number(rate)
