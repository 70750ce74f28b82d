"""PoolMax: the largest number under a window, channel by channel; padding is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import BadOperand
from bitexport_ref.numerics import F32, S8
from bitexport_ref.windows import Window


def pool_max(
    x: F32, *, picture: Sequence[int], kernel_shape: Sequence[int], strides: Sequence[int],
    pads: Sequence[int], dilations: Sequence[int],
) -> F32:  # fmt: skip
    """Return the largest: (1, positions, c) -> (1, steps, c)."""
    window = Window(picture=picture, kernel_shape=kernel_shape, strides=strides, pads=pads,
                    dilations=dilations)  # fmt: skip
    return _largest(x, window)


def pool_max_s8(
    x: S8, *, picture: Sequence[int], kernel_shape: Sequence[int], strides: Sequence[int],
    pads: Sequence[int], dilations: Sequence[int],
) -> S8:  # fmt: skip
    """Return the same of codes."""
    window = Window(picture=picture, kernel_shape=kernel_shape, strides=strides, pads=pads,
                    dilations=dilations)  # fmt: skip
    return _largest(x, window)


def _largest(x: NDArray[Any], window: Window) -> NDArray[Any]:
    """Of equal numbers (+0 and -0) the first stays."""
    largest: NDArray[Any] | None = None
    some: NDArray[np.bool_] | None = None
    for seen, inside in window.under(x):
        if largest is None or some is None:
            largest, some = seen, inside
        else:
            largest = np.where(inside & (~some | (seen > largest)), seen, largest)
            some = some | inside
    if largest is None or some is None or not some.all():
        message = "a window sees nothing but padding"
        raise BadOperand(message)
    return largest[None]
