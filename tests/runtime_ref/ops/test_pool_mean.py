"""pool_mean: the sum in order, over the count of what is no padding."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand
from bitexport_ref.ops.pool_mean import pool_mean

WINDOW = {"picture": (3, 3), "kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1),
          "dilations": (1, 1)}  # fmt: skip


def test_sums_are_rounded_in_order(plain, same_bits):
    x = np.random.default_rng(2).standard_normal((1, 9, 2)).astype(np.float32)
    seen = [(0, 1, 3, 4), (1, 2, 4, 5), (3, 4, 6, 7), (4, 5, 7, 8)]
    expected = []
    for rows in seen:
        sums = [0.0, 0.0]
        for row in rows:
            sums = [plain.f32(total + float(v)) for total, v in zip(sums, x[0, row], strict=True)]
        expected.append([plain.f32(total / 4) for total in sums])
    same_bits(pool_mean(x, **WINDOW), [expected])


def test_a_window_of_padding_alone_is_refused():
    with pytest.raises(BadOperand, match="nothing but padding"):
        pool_mean(np.zeros((1, 9, 1), np.float32), **WINDOW | {"pads": (3, 0, 1, 0)})
