"""Patches: what a window sees of a picture, a row for each place where it stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitexport_ref.numerics import F32, S8
from bitexport_ref.windows import Window


def patches(
    x: F32, *, picture: Sequence[int], kernel_shape: Sequence[int], strides: Sequence[int],
    pads: Sequence[int], dilations: Sequence[int],
) -> F32:  # fmt: skip
    """Return what lies under each place: (1, positions, c) -> (1, steps, kh * kw * c)."""
    window = Window(picture=picture, kernel_shape=kernel_shape, strides=strides, pads=pads,
                    dilations=dilations)  # fmt: skip
    return np.concatenate([seen for seen, _ in window.under(x)], axis=1)[None]


def patches_s8(
    x: S8, *, picture: Sequence[int], kernel_shape: Sequence[int], strides: Sequence[int],
    pads: Sequence[int], dilations: Sequence[int],
) -> S8:  # fmt: skip
    """Return the same of codes."""
    window = Window(picture=picture, kernel_shape=kernel_shape, strides=strides, pads=pads,
                    dilations=dilations)  # fmt: skip
    return np.concatenate([seen for seen, _ in window.under(x)], axis=1)[None]
