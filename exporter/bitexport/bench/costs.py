"""What work costs in instructions, as it was counted: counts.json for kernels, costs.toml."""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from bitexport.bench.count import UNIT
from bitexport.targets import load_targets

GEMV, GEMM = "gemv", "gemm"

Counts = Mapping[str, float]  # instructions per 64 weights and vector, by the number of vectors


@functools.cache
def cost(work: str, target: str, isas: tuple[str, ...], columns: int = 1) -> float | None:
    """Return the instructions of one unit of work, on the best of some instruction sets.

    Work is a gemv kernel, in multiply-adds, or a key of costs.toml.  With many columns at once the
    gemm kernel of the same layout counts, if there is one.  None, where nobody has counted.
    """
    if not work.startswith(GEMV):
        return next((each[work] for each in _others(target)), None)
    built = load_targets()[target].isas if target in load_targets() else isas
    found = [
        count
        for known in _relatives(target)
        for isa in isas
        if isa in built
        if (count := _kernel(counts().get(known, {}).get(isa, {}), work, columns)) is not None
    ]
    return min(found) / UNIT if found else None


def _kernel(kernels: Mapping[str, Counts], name: str, columns: int) -> float | None:
    """Return the better of a gemv kernel and, with many columns, its gemm twin."""
    found = []
    if one := kernels.get(name):
        found.append(one["1"])
    many = kernels.get(name.replace(GEMV, GEMM, 1))
    if columns > 1 and many:
        found.append(min(many.items(), key=lambda item: abs(int(item[0]) - columns))[1])
    return min(found, default=None)


def _others(target: str) -> Iterator[Mapping[str, float]]:
    for known in _relatives(target):
        if known in other_costs():
            yield other_costs()[known]


@functools.cache
def _relatives(target: str) -> tuple[str, ...]:
    """Return the target, then those whose code is the same machine's."""
    targets = load_targets()
    triple = targets[target].triple if target in targets else None
    others = (each.name for each in targets.values() if each.triple == triple)
    return (target, *(name for name in others if name != target))


@functools.cache
def counts() -> Mapping[str, Mapping[str, Mapping[str, Counts]]]:
    """Return the counts of kernels, by target, instruction set, kernel and vectors."""
    known: dict[str, Any] = json.loads(_text("counts.json"))
    return known


@functools.cache
def other_costs() -> Mapping[str, Mapping[str, Any]]:
    """Return what costs.toml says, by target; of a unit of each kind of work, with its source."""
    return tomllib.loads(_text("costs.toml"))


def _text(name: str) -> str:
    return files("bitexport.bench").joinpath(name).read_text(encoding="utf-8")
