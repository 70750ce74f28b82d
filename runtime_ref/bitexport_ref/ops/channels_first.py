"""ChannelsFirst: positions with channels become one row, a plane for each channel."""

from __future__ import annotations

import numpy as np

from bitexport_ref.numerics import F32, S8


def channels_first(x: F32) -> F32:
    """Return (1, positions, channels) as (1, channels * positions)."""
    return np.ascontiguousarray(np.swapaxes(x, 1, 2).reshape(1, -1))


def channels_first_s8(x: S8) -> S8:
    """Return the same of codes."""
    return np.ascontiguousarray(np.swapaxes(x, 1, 2).reshape(1, -1))
