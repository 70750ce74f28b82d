"""relu: x above zero, else +0."""

from __future__ import annotations

import numpy as np

from bitexport_ref.ops.relu import relu


def test_only_what_is_above_zero_stays(same_bits):
    x = np.array([[1.5, -1.5, 0.0, -0.0, 1e-45, -1e-45, np.inf, -np.inf, np.nan]], np.float32)
    same_bits(relu(x), [[1.5, 0, 0, 0, 1e-45, 0, np.inf, 0, 0]])
