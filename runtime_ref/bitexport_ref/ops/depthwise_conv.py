"""DepthwiseConv: every channel of a picture by a window of its own, exact in s32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitexport_ref.errors import BadOperand
from bitexport_ref.numerics import S8, S32
from bitexport_ref.windows import Window


def depthwise_conv(
    x: S8, weight: S8, *, picture: Sequence[int], kernel_shape: Sequence[int],
    strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int],
) -> S32:  # fmt: skip
    """Return the sums: (1, positions, c), (kh * kw, c) -> (1, steps, c)."""
    window = Window(picture=picture, kernel_shape=kernel_shape, strides=strides, pads=pads,
                    dilations=dilations)  # fmt: skip
    if weight.shape != (kernel_shape[0] * kernel_shape[1], x.shape[-1]):
        message = f"a weight {weight.shape} for {x.shape[-1]} channels, a window of {kernel_shape}"
        raise BadOperand(message)
    terms = (
        seen.astype(np.int32) * taps
        for (seen, _), taps in zip(window.under(x), weight.astype(np.int32), strict=True)
    )
    return np.asarray(sum(terms, np.int32(0)), np.int32)[None]
