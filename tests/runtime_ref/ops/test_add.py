"""add: element by element, with a value or a row of the same width."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand
from bitexport_ref.ops.add import add

RNG = np.random.default_rng(0)
A = RNG.standard_normal((2, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("shape", [(2, 3, 4), (4,)])
def test_every_element_is_rounded_once(shape, plain, same_bits):
    b = RNG.standard_normal(shape).astype(np.float32)
    spread = np.broadcast_to(b, A.shape)
    pairs = zip(A.ravel().tolist(), spread.ravel().tolist(), strict=True)
    same_bits(add(A, b).ravel(), [plain.f32(x + y) for x, y in pairs])


@pytest.mark.parametrize("shape", [(1,), (3, 4), (2, 3, 1), ()])
def test_other_ways_to_broadcast_are_refused(shape):
    with pytest.raises(BadOperand, match="fits neither"):
        add(A, np.zeros(shape, np.float32))
