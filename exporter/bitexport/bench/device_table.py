"""Predictions as tables for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bitexport.bench.drawing import number
from bitexport.bench.forecast import Forecast
from bitexport.bench.published import Held
from bitexport.bench.roofline import ASSUMPTIONS, Prediction, Step


def print_forecast(forecast: Forecast, console: Console) -> None:
    """Print a row for each device, then a sentence for each that cannot run the model."""
    console.print(f"{forecast.name}, predicted: {forecast.what}")
    if forecast.predictions:
        console.print()
        console.print(_speeds(forecast.predictions))
    for refusal in forecast.refusals:
        console.print(f"\n{refusal.reason}", end="")
    console.print()


def print_assumptions(held: Sequence[Held], console: Console) -> None:
    """Print what the predictions assume, and how published figures compare with theirs."""
    console.print("Predicted means:")
    for sentence in ASSUMPTIONS:
        console.print(textwrap.fill(sentence, 100, initial_indent="- ", subsequent_indent="  "))
    console.print()
    console.print(summary(held))
    console.print()
    table = Table("runtime", "device", "model", box=None)
    for title in ("threads", "", "published, tokens/s", "predicted", "predicted / published"):
        table.add_column(title, justify="right")
    for each in held:
        numbers = (number(each.published), number(each.predicted), f"{each.ratio:.2f}")
        table.add_row(
            each.runtime, each.device, each.model, str(each.threads), each.phase, *numbers
        )
    console.print(table)


def summary(held: Sequence[Held]) -> str:
    """Return how far predictions of other runtimes are from what was published of them."""
    ratios = sorted(each.ratio for each in held)
    middle = ratios[len(ratios) // 2]
    return (
        f"The same roofline predicts {len(held)} published speeds of other runtimes at "
        f"{ratios[0]:.2f} to {ratios[-1]:.2f} of what was published, {middle:.2f} in the middle."
    )


def _speeds(predictions: Sequence[Prediction]) -> Table:
    table = Table("device", "layout", "runs on", box=None)
    contexts = list(dict.fromkeys(p.context for each in predictions for p in each.points))
    for context in contexts:
        table.add_column(f"decode at {context}", justify="right")
    for title in ("prefill at 0", "threads", "energy a token", "waits for"):
        table.add_column(title, justify="right")
    for each in predictions:
        decode = {point.context: point.decode for point in each.points}
        first = each.points[0]
        table.add_row(
            each.device.name,
            each.workload.layout,
            "+".join(each.isas),
            *(_rate(decode.get(context)) for context in contexts),
            _rate(first.prefill),
            threads(first.decode, first.prefill),
            energy(first.decode.joules),
            first.decode.bound,
        )
    return table


def readme_predictions(forecast: Forecast) -> str:
    """Return a row for each device, as Markdown."""
    contexts = [point.context for point in forecast.predictions[0].points]
    titles = ["device", "layout, on", *(f"decode behind {context:,}" for context in contexts)]
    titles += ["prefill", "energy a token", "waits for"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for each in forecast.predictions:
        first = each.points[0]
        cells = [each.device.name, f"`{each.workload.layout}`, {' + '.join(each.isas)}"]
        cells += [number(point.decode.rate) for point in each.points]
        cells += [_rate(first.prefill), energy(first.decode.joules), first.decode.bound]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def threads(decode: Step, prefill: Step | None) -> str:
    """Return the threads of decode and, where they differ, of prefill."""
    if prefill is None or prefill.threads == decode.threads:
        return str(decode.threads)
    return f"{decode.threads}, {prefill.threads}"


def energy(joules: float) -> str:
    """Return joules, or what is less than a hundredth in a smaller unit."""
    for unit, factor in (("J", 1.0), ("mJ", 1e-3)):
        if joules >= factor / 100:
            return f"{number(joules / factor)} {unit}"
    return f"{number(joules / 1e-6)} uJ"


def _rate(step: Step | None) -> str:
    return "" if step is None else number(step.rate)
