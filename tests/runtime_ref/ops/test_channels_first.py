"""channels_first: positions with channels become planes."""

from __future__ import annotations

import numpy as np

from bitexport_ref.ops.channels_first import channels_first, channels_first_s8
from bitexport_ref.ops.channels_last import channels_last


def test_it_undoes_channels_last():
    x = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    np.testing.assert_array_equal(channels_first(channels_last(x, channels=2)), x.reshape(1, 24))


def test_codes_stay_codes():
    found = channels_first_s8(np.array([[[1, -2], [3, -4]]], np.int8))
    assert (found.dtype, found.tolist()) == (np.int8, [[1, 3, -2, -4]])
