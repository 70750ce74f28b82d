"""A weight matrix as its checkpoint holds it: numbers, and the scales that some formats share."""

from __future__ import annotations

import dataclasses

from bitexport.checkpoints.matrix import FLOAT_NAMES, Matrix


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
    """A matrix [n, k]: values times scale, the scale of column i that of group i // group."""

    values: Matrix
    """[n, k]: TRITS, SIGNS, INT4 or INT8 with a scale; FLOAT, FLOAT16 or BFLOAT16 without one."""
    scale: Matrix | None = None
    """[groups, n], FLOAT or FLOAT16; 1 in place of groups, of n or of both where all are equal."""
    group: int = 0
    """Columns that share a scale; 0: the scale does not change along a row."""

    @property
    def is_float(self) -> bool:
        """Whether the values stand for themselves."""
        return self.values.kind in FLOAT_NAMES
