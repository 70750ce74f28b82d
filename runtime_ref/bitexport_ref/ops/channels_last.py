"""ChannelsLast: the planes of a picture become positions with channels."""

from __future__ import annotations

import numpy as np

from bitexport_ref.numerics import F32


def channels_last(x: F32, *, channels: int) -> F32:
    """Return (1, channels, height, width) as (1, height * width, channels)."""
    _, planes, height, width = x.shape
    return np.ascontiguousarray(np.moveaxis(x, 1, 3).reshape(1, height * width, planes))
