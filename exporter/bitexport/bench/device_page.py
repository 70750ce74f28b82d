"""Predictions as a page: speed and energy on each device, its roofline, and published speeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from bitexport.bench.device import GIGA, Device
from bitexport.bench.device_table import energy, summary, threads
from bitexport.bench.drawing import (
    Mark,
    Spot,
    Stack,
    bars,
    key,
    number,
    ratios,
    roof,
    stacks,
    table,
)
from bitexport.bench.forecast import Forecast
from bitexport.bench.page import whole_page
from bitexport.bench.published import Held, left_out
from bitexport.bench.roofline import ASSUMPTIONS, Prediction, Step, instruction_rate
from bitexport.bench.workload import ATTENTION, HEAD, LAYERS, REST

TITLE = "Predicted speed on devices"
LEAD = (
    "Predicted, not measured: a roofline of counted instructions and of bytes to read, over what "
    "each device can do by its file.  Many of those numbers are estimates; all say where they are "
    "from."
)
PARTS = (
    (LAYERS, "layers' matrices"), (HEAD, "head"), (ATTENTION, "attention"), (REST, "all else"),
)  # fmt: skip
INTENSITIES, RATES = (0.1, 100.0), (3e8, 3e11)
"""What a roofline spans: instructions for a byte, bytes a second."""
LOW, HIGH = 0.4, 3.0  # of ratios shown


def devices_page(forecasts: Sequence[Forecast], held: Sequence[Held]) -> str:
    """Return the page."""
    body = [_forecast(forecast) for forecast in forecasts]
    body += [_assumptions(), _published(held)]
    devices = {each.device.key: each.device for f in forecasts for each in f.predictions}
    body.append(_sources(devices.values()))
    return whole_page(TITLE, LEAD, "\n".join(body))


def _forecast(forecast: Forecast) -> str:
    title = f"<h2>{escape(forecast.name)}</h2>\n<p>{escape(forecast.what.capitalize())}.</p>"
    parts = [title]
    if forecast.predictions:
        parts += [_speeds(forecast), _shares(forecast), _roofs(forecast), _table(forecast)]
    if forecast.refusals:
        items = "".join(f"<li>{escape(each.reason)}</li>" for each in forecast.refusals)
        parts.append(f"<h3>No prediction</h3>\n<ul>{items}</ul>")
    return "\n".join(parts)


def _speeds(forecast: Forecast) -> str:
    """Return decode at the first and at the last context, prefill, and energy."""
    predictions = forecast.predictions
    ends = dict.fromkeys((predictions[0].points[0].context, predictions[0].points[-1].context))
    titled = [
        (f"predicted decode behind {context:,} tokens, tokens/s", _decoded(forecast, context))
        for context in ends
    ]
    first = [(each.device.name, each.points[0]) for each in predictions]
    prefill = [(name, point.prefill.rate) for name, point in first if point.prefill]
    titled += [
        ("predicted prefill, tokens/s", [_mark(name, rate) for name, rate in prefill]),
        (
            "predicted energy of a decoded token",
            [Mark(name, p.decode.joules, energy(p.decode.joules), "c3") for name, p in first],
        ),
    ]
    drawn = (
        f"<div><h3>{title}</h3>\n{bars(marks, title)}</div>" for title, marks in titled if marks
    )
    return f'<div class="pair">{"".join(drawn)}</div>'


def _decoded(forecast: Forecast, context: int) -> list[Mark]:
    return [
        _mark(each.device.name, point.decode.rate)
        for each in forecast.predictions
        for point in each.points
        if point.context == context
    ]


def _mark(name: str, rate: float) -> Mark:
    return Mark(name, rate, number(rate), "ours")


def _shares(forecast: Forecast) -> str:
    """Return where a decoded token spends its time, at the first and at the last context."""
    contexts = [point.context for point in forecast.predictions[0].points]
    drawn = []
    for context in dict.fromkeys((contexts[0], contexts[-1])):
        rows = [
            Stack(each.device.name, _milliseconds(point.decode), _seconds(point.decode))
            for each in forecast.predictions
            for point in each.points
            if point.context == context
        ]
        title = f"a token behind {context:,} others" if context else "the first token"
        drawn.append(f"<div><h3>{title}</h3>\n{stacks(rows, title)}</div>")
    inside = "".join(drawn)
    return f'<h3>Where its time goes</h3>\n{key(PARTS)}<div class="pair">{inside}</div>'


def _seconds(step: Step) -> dict[str, float]:
    return {name: part.seconds for name, _ in PARTS if (part := step.parts.get(name))}


def _milliseconds(step: Step) -> str:
    return f"{number(1e3 * step.seconds)} ms"


def _roofs(forecast: Forecast) -> str:
    """Return a small roofline for each device that reads weights from memory."""
    cards = [_card(each) for each in forecast.predictions if each.points[0].decode.whole.bytes]
    if not cards:
        return "<p>Its weights stay in the caches: memory is no roof over it.</p>"
    return (
        "<h3>Rooflines</h3>\n<p>Across, instructions for each byte that is read; up, bytes a "
        "second.  The flat part of a roof is the memory, the falling part are the cores that work; "
        "where a part of a token lies left of the ridge, better kernels do not help.</p>\n"
        f'{key(PARTS[:3])}<div class="cards">{"".join(cards)}</div>'
    )


def _card(prediction: Prediction) -> str:
    device, point = prediction.device, prediction.points[-1]
    working = device.working(point.decode.threads)
    rate = sum(count * instruction_rate(cluster) for cluster, count in working)
    bandwidth = device.memory.rate(point.decode.threads)
    spots = [
        Spot(title, part.instructions / part.bytes, part.bytes / part.seconds, name)
        for name, title in PARTS[:3]
        if (part := point.decode.parts.get(name)) and part.bytes
    ]
    plot = roof(
        spots, bandwidth=bandwidth, instructions=rate, about=f"roofline of {device.name}",
        spans=(INTENSITIES, RATES),
    )  # fmt: skip
    cores = " + ".join(f"{count} {cluster.core}" for cluster, count in working)
    return (
        f"<div><h3>{escape(device.name)}</h3>\n<p>{escape(cores)}, {bandwidth / GIGA:g} GB/s, "
        f"behind {point.context:,} tokens</p>\n{plot}</div>"
    )


def _table(forecast: Forecast) -> str:
    titles = ("device", "layout", "on", "behind", "decode, tokens/s", "prefill, tokens/s",
              "threads", "energy a token", "waits for")  # fmt: skip
    rows = [
        (
            each.device.name, each.workload.layout, " + ".join(each.isas), f"{point.context:,}",
            number(point.decode.rate), number(point.prefill.rate) if point.prefill else "",
            threads(point.decode, point.prefill), energy(point.decode.joules), point.decode.bound,
        )
        for each in forecast.predictions
        for point in each.points
    ]  # fmt: skip
    made = table(titles, rows, (3, 4, 5, 6, 7))
    return f"<details><summary>All predicted numbers</summary>\n{made}</details>"


def _assumptions() -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in ASSUMPTIONS)
    return f"<h2>What predicted means</h2>\n<ul>{items}</ul>"


def _published(held: Sequence[Held]) -> str:
    """Return predicted over published for other runtimes, nearest first."""
    marks = [
        Mark(f"{each.runtime}, {each.device}, {each.phase}, {_count(each.threads)}", each.ratio,
             f"{each.ratio:.2f}", "ours")
        for each in held
    ]  # fmt: skip
    rows = [
        (each.runtime, each.device, each.model, each.phase, str(each.threads),
         number(each.published), number(each.predicted), each.source, each.counted)
        for each in held
    ]  # fmt: skip
    titles = ("runtime", "device", "model", "", "threads", "published, tokens/s", "predicted",
              "speed from", "instructions from")  # fmt: skip
    absent = "".join(f"<li>{escape(name)}: {escape(reason)}.</li>" for name, reason in left_out())
    return (
        f"<h2>Held against published speeds</h2>\n<p>{escape(summary(held))}  Predicted over "
        "published; other runtimes wait where the roofline does not, so most lie right of 1.</p>\n"
        f"{ratios(marks, LOW, HIGH, 'predicted over published')}\n"
        f"<details><summary>Their numbers</summary>\n{table(titles, rows, (4, 5, 6))}</details>\n"
        f"<h3>Left out</h3>\n<ul>{absent}</ul>"
    )


def _count(several: int) -> str:
    return f"{several} thread{'s' if several > 1 else ''}"


def _sources(devices: Iterable[Device]) -> str:
    """Return where each number of each device is from."""
    made = []
    for device in devices:
        rows = device.sources.items()
        made.append(
            f"<details><summary>{escape(device.name)}: {escape(device.summary)}</summary>\n"
            f"{table(('number', 'source'), rows)}</details>"
        )
    return "<h2>Where the devices' numbers are from</h2>\n" + "\n".join(made)
