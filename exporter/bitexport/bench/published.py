"""The roofline held against speeds that others published of their runtimes (published.toml)."""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from bitexport.bench.count import UNIT
from bitexport.bench.device import find_device
from bitexport.bench.roofline import step
from bitexport.bench.workload import load_shapes, peer_workload

FACTOR = 2.5
"""How far a prediction may be from what was published, either way; a test holds them to it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Held:
    """A published speed beside its prediction, in tokens a second."""

    runtime: str
    device: str
    model: str
    threads: int
    phase: str  # "decode" or "prefill"
    published: float
    predicted: float
    counted: str  # where its instructions are from
    source: str  # where the speed is from

    @property
    def ratio(self) -> float:
        """Return predicted over published."""
        return self.predicted / self.published


def held_against() -> list[Held]:
    """Predict every figure of published.toml."""
    return [
        _held(runtime, figure) for runtime in published()["runtime"] for figure in runtime["figure"]
    ]


def left_out() -> list[tuple[str, str]]:
    """Return known figures that are not compared, and why."""
    return [(each["name"], each["reason"]) for each in published()["left_out"]]


def _held(runtime: Mapping[str, Any], figure: Mapping[str, Any]) -> Held:
    device, shape = find_device(figure["device"]), load_shapes()[figure["shape"]]
    workload = peer_workload(
        shape, bits=runtime["bits"], head_bits=figure["head_bits"],
        decode=runtime["decode"] / UNIT, prefill=runtime["prefill"] / UNIT,
    )  # fmt: skip
    cost = step(
        device, workload, device.targets[0], 0, prompt=figure.get("tokens", 1),
        threads=figure["threads"],
    )  # fmt: skip
    return Held(
        runtime=runtime["name"], device=device.name, model=shape.name, threads=figure["threads"],
        phase=figure["phase"], published=figure["value"], predicted=cost.rate,
        counted=runtime["counted"], source=figure["source"],
    )  # fmt: skip


@functools.cache
def published() -> Mapping[str, Any]:
    """Return what published.toml says."""
    text = files("bitexport.bench").joinpath("published.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
