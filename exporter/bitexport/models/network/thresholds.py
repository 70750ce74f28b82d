"""The numbers from which on each code is reached: what steps and a quantizer do, searched exactly.

Each step is a float32 op that rises with its input: a correctly rounded sum, product or quotient
with a constant does, and so do Relu, Clip and rounding to codes.  Of numbers that are put in order,
those that reach a code are therefore all from a first one on, and halving finds that one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bitexport.models.network.quantizers import Quantizer

F32 = NDArray[np.float32]
S64 = NDArray[np.int64]

LARGEST_FLOAT_BITS = 0x7F7FFFFF
LARGEST_SUM = (1 << 31) - 1

Steps = Callable[[F32], F32]


def of_sums(rising: Steps, quantizer: Quantizer, columns: int, bound: S64) -> NDArray[np.int32]:
    """Return levels [levels, columns] of integers; bound [columns] is the largest magnitude.

    `rising` takes sums as float32 [..., columns].  A level that no sum reaches is bound + 1.
    """
    assert int(bound.max(initial=0)) < LARGEST_SUM
    first = _search(lambda s: rising(s.astype(np.float32)), quantizer, columns, -bound, bound + 1)
    return first.astype(np.int32)


def of_floats(rising: Steps, quantizer: Quantizer, columns: int) -> F32:
    """Return levels [levels, columns] of float32; one that nothing finite reaches is infinite."""
    ends = np.full(columns, LARGEST_FLOAT_BITS, np.int64)
    first = _search(lambda k: rising(_float(k)), quantizer, columns, -ends, ends + 1)
    return np.where(first > LARGEST_FLOAT_BITS, np.float32(np.inf), _float(first))


def _float(order: S64) -> F32:
    """Return the float at a place of the order: 0 is +0, 1 the smallest above it."""
    bits = np.minimum(np.abs(order), LARGEST_FLOAT_BITS).astype(np.uint32)
    return np.where(order < 0, -bits.view(np.float32), bits.view(np.float32))


def _search(
    rising: Callable[[S64], F32], quantizer: Quantizer, columns: int, least: S64, end: S64
) -> S64:
    """Return the first integer in [least, end) that reaches each code; end where none does."""
    count = quantizer.levels
    wanted = quantizer.least + quantizer.step * np.arange(1, count + 1)[:, None]
    low = np.broadcast_to(least, (count, columns)).copy()
    high = np.broadcast_to(end, (count, columns)).copy()
    with np.errstate(all="ignore"):
        while (low < high).any():
            middle = (low + high) >> 1
            reached = quantizer.codes(rising(middle)) >= wanted
            high = np.where(reached & (low < high), middle, high)
            low = np.where(reached | (low >= high), low, middle + 1)
    return low
