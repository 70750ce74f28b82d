"""Quantizers with fixed scales: which numbers become which codes, as QONNX defines it in float32.

Definitions: github.com/fastmachinelearning/qonnx, `docs/qonnx-custom-ops/quant_op.md` and
`bipolar_quant_op.md`; ONNX, QuantizeLinear.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Quantizer:
    """Codes from `least` to `most` in steps; a code stands for itself times the scale."""

    scale: np.float32
    least: int
    most: int
    step: int = 1
    """2 where there is no code between -1 and 1."""

    @property
    def levels(self) -> int:
        """How many numbers separate the codes."""
        return (self.most - self.least) // self.step

    @property
    def largest(self) -> int:
        """Largest magnitude of a code."""
        return max(-self.least, self.most)

    def codes(self, x: F32) -> NDArray[np.int64]:
        """Return the codes of numbers, any shape."""
        if self.step != 1:
            return np.where(x >= 0, np.int64(self.most), np.int64(self.least))
        with np.errstate(over="ignore"):
            clipped = np.clip(x / self.scale, np.float32(self.least), np.float32(self.most))
        return np.asarray(np.rint(clipped), np.int64)

    def values(self, x: F32) -> F32:
        """Return what the codes of numbers stand for."""
        return self.codes(x).astype(np.float32) * self.scale


def bounds(bits: int, *, signed: bool, narrow: bool) -> tuple[int, int]:
    """Return the least and the largest code of a QONNX `Quant`."""
    if signed:
        return -(1 << bits - 1) + narrow, (1 << bits - 1) - 1
    return 0, (1 << bits) - 1 - narrow
