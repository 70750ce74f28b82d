"""channels_last: planes become positions with channels."""

from __future__ import annotations

import numpy as np

from bitexport_ref.ops.channels_last import channels_last


def test_each_position_gets_its_channels():
    x = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    found = channels_last(x, channels=2)
    assert found.shape == (1, 12, 2)
    assert [tuple(row) for row in found[0, :3]] == [(0, 12), (1, 13), (2, 14)]
