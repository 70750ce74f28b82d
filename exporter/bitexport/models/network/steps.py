"""What is computed of a number after its layer, one element at a time, each step rounded once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Step:
    """One elementwise op with constants; all of them rise or fall, none turns."""

    name: str
    apply: Callable[[F32], F32]
    """As the graph computes it, in float32: (..., columns)."""
    factor: F64 | None = None
    """y = factor * x + offset, [1] or [columns]; None where it is not linear."""
    offset: F64 | None = None

    @property
    def falls(self) -> NDArray[np.bool_]:
        """In which columns the result gets smaller as x gets larger; [1] or [columns]."""
        return np.zeros(1, np.bool_) if self.factor is None else self.factor < 0


def add(c: F32) -> Step:
    """Return x + c."""
    return Step("Add", lambda x: x + c, np.ones(1), c.astype(np.float64))


def subtract(c: F32) -> Step:
    """Return x - c."""
    return Step("Sub", lambda x: x - c, np.ones(1), -c.astype(np.float64))


def subtract_from(c: F32) -> Step:
    """Return c - x."""
    return Step("Sub", lambda x: c - x, -np.ones(1), c.astype(np.float64))


def multiply(c: F32) -> Step:
    """Return x * c."""
    return Step("Mul", lambda x: x * c, c.astype(np.float64), np.zeros(1))


def divide(c: F32) -> Step:
    """Return x / c."""
    return Step("Div", lambda x: x / c, 1 / c.astype(np.float64), np.zeros(1))


def normalize(scale: F32, bias: F32, mean: F32, variance: F32, epsilon: np.float32) -> Step:
    """Return ((x - mean) / sqrt(variance + epsilon)) * scale + bias."""
    deviation = np.sqrt(variance + epsilon)

    def apply(x: F32) -> F32:
        y: F32 = ((x - mean) / deviation) * scale + bias
        return y

    factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + np.float64(epsilon))
    return Step("BatchNormalization", apply, factor, bias - mean.astype(np.float64) * factor)


def relu() -> Step:
    """Return x above 0, else 0."""
    return Step("Relu", lambda x: np.where(x > 0, x, np.float32(0)))


def clip(least: np.float32, most: np.float32) -> Step:
    """Return x inside bounds."""
    return Step("Clip", lambda x: np.clip(x, least, most))


def folded(run: Sequence[Step]) -> tuple[F64, F64]:
    """Return factor and offset of linear steps, one after the other."""
    factor, offset = np.ones(1), np.zeros(1)
    for step in run:
        assert step.factor is not None
        assert step.offset is not None
        factor, offset = factor * step.factor, offset * step.factor + step.offset
    return factor, offset


def falls(steps: Sequence[Step]) -> NDArray[np.bool_]:
    """Return in which columns all steps together fall."""
    found = np.zeros(1, np.bool_)
    for step in steps:
        found = found ^ step.falls
    return found
