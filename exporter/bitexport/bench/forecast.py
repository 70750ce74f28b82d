"""Models predicted on devices: what `bench devices`, its page and a report show."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from bitexport.bench.device import Device, load_devices
from bitexport.bench.published import Held
from bitexport.bench.roofline import Point, Prediction, Refusal, Step, predict, predict_shape
from bitexport.bench.workload import Shape, Workload, bundle_workload
from bitexport.emit.manifest import Bundle
from bitexport_ref.bitx import open_bitx


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forecast:
    """One model on every device that was asked for."""

    name: str
    what: str  # of the model, for a reader: where it is from, layout or embedding
    predictions: tuple[Prediction, ...]
    refusals: tuple[Refusal, ...]


def of_bundle(bundle: Bundle, keys: Sequence[str], contexts: Sequence[int]) -> Forecast:
    """Predict a bundle on the devices of those names; of none, on all that may run it."""
    arena_bytes = int(bundle.manifest["memory"]["arena_bytes_16_rows"])
    workload = bundle_workload(
        open_bitx(bundle.data), target=bundle.target_name, arena_bytes=arena_bytes
    )
    return of_workload(workload, keys, contexts)


def of_workload(workload: Workload, keys: Sequence[str], contexts: Sequence[int]) -> Forecast:
    """Predict a model that is for one target.

    Of contexts that it has no room for, half of its own takes the place.
    """
    within = [context for context in contexts if context < workload.context]
    if len(within) < len(contexts):
        within = sorted({*within, workload.context // 2})
    results = [predict(device, workload, within) for device in shown(keys, workload.target)]
    return _forecast(workload.name, f"a bundle for {workload.target}", results)


def of_shape(
    shape: Shape, embedding: str, keys: Sequence[str], contexts: Sequence[int]
) -> Forecast:
    """Predict a published model, in the best layout for each device."""
    results = [predict_shape(device, shape, embedding, contexts) for device in shown(keys, None)]
    what = f"embedding and head as {embedding}, the fastest layout for each device"
    return _forecast(shape.name, what, results)


def shown(keys: Sequence[str], target: str | None) -> list[Device]:
    """Return the devices of those names; of none, all that run libraries of a target.

    Devices that are here only because of what others published of them come when no other does.
    """
    devices = load_devices()
    if keys:
        return [devices[key] for key in dict.fromkeys(keys)]
    able = [each for each in devices.values() if target is None or target in each.targets]
    return [each for each in able if not each.reference] or able


def _forecast(name: str, what: str, results: Sequence[Prediction | Refusal]) -> Forecast:
    predictions = [each for each in results if isinstance(each, Prediction)]
    predictions.sort(key=lambda each: (each.points[0].decode.seconds, each.device.name))
    return Forecast(
        name=name,
        what=what,
        predictions=tuple(predictions),
        refusals=tuple(each for each in results if isinstance(each, Refusal)),
    )


# ---- as plain data ---------------------------------------------------------------------------


def forecast_facts(forecast: Forecast) -> dict[str, Any]:
    """Return a forecast as plain data, every number rounded to what it is worth."""
    return {
        "model": forecast.name,
        "what": forecast.what,
        "predicted": [_prediction_facts(each) for each in forecast.predictions],
        "refused": {each.device.key: each.reason for each in forecast.refusals},
    }


def _prediction_facts(prediction: Prediction) -> dict[str, Any]:
    device, workload = prediction.device, prediction.workload
    return {
        "device": device.key,
        "name": device.name,
        "target": prediction.target,
        "layout": workload.layout,
        "instruction_sets": list(prediction.isas),
        "points": [_point_facts(point) for point in prediction.points],
    }


def _point_facts(point: Point) -> dict[str, Any]:
    return {
        "context": point.context,
        "decode": _step_facts(point.decode),
        "prefill": point.prefill and _step_facts(point.prefill),
    }


def _step_facts(step: Step) -> dict[str, Any]:
    return {
        "tokens_per_second": rounded(step.rate),
        "joules_per_token": rounded(step.joules),
        "threads": step.threads,
        "bound": step.bound,
        "instructions": rounded(step.whole.instructions),
        "memory_bytes": rounded(step.whole.bytes),
        "share_of_time": {
            name: rounded(part.seconds / step.seconds) for name, part in step.parts.items()
        },
    }


def held_facts(held: Held) -> dict[str, Any]:
    """Return a published figure beside its prediction as plain data."""
    return {
        **dataclasses.asdict(held),
        "predicted": rounded(held.predicted),
        "ratio": rounded(held.ratio),
    }


def rounded(number: float) -> float:
    """Return a number with three digits: more are not meant."""
    return float(f"{number:.3g}")
