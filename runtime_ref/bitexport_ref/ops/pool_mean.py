"""PoolMean: the mean of the numbers under a window, channel by channel; padding is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitexport_ref.errors import BadOperand
from bitexport_ref.numerics import F32
from bitexport_ref.windows import Window


def pool_mean(
    x: F32, *, picture: Sequence[int], kernel_shape: Sequence[int], strides: Sequence[int],
    pads: Sequence[int], dilations: Sequence[int],
) -> F32:  # fmt: skip
    """Return the sum in order, from +0, over the count: (1, positions, c) -> (1, steps, c)."""
    window = Window(picture=picture, kernel_shape=kernel_shape, strides=strides, pads=pads,
                    dilations=dilations)  # fmt: skip
    total = count = np.zeros((1, 1), np.float32)
    for seen, inside in window.under(x):
        total = np.where(inside, total + seen, total)
        count = count + inside.astype(np.float32)
    if not np.all(count):
        message = "a window sees nothing but padding"
        raise BadOperand(message)
    mean: F32 = np.asarray(total / count, np.float32)[None]
    return mean
