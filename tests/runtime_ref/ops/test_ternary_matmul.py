"""ternary_matmul: exact sums, of trits and of signs."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand
from bitexport_ref.layouts import LAYOUTS, PackedMatrix
from bitexport_ref.ops import ternary_matmul as module
from bitexport_ref.ops.ternary_matmul import ternary_matmul

SIZES = [(1, 1), (16, 16), (17, 16), (16, 17), (5, 40), (33, 50)]


def plain_product(q, w):
    weights = w.tolist()
    return [
        [sum(a * b for a, b in zip(row, each, strict=True)) for each in weights]
        for row in q.reshape(-1, q.shape[-1]).tolist()
    ]


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_sums_are_exact(n, k):
    rng = np.random.default_rng(k)
    q = rng.integers(-128, 128, (2, 3, k)).astype(np.int8)
    w = rng.integers(-1, 2, (n, k)).astype(np.int8)
    found = ternary_matmul(q, w)
    assert found.dtype == np.int32
    assert found.shape == (2, 3, n)
    assert found.reshape(6, n).tolist() == plain_product(q, w)


@pytest.mark.parametrize("layout", module.LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize(("n", "k"), SIZES)
def test_sums_of_packed_weights_are_exact(layout, n, k):
    rng = np.random.default_rng(k)
    q = rng.integers(-128, 128, (2, 3, k)).astype(np.int8)
    raw = rng.integers(0, 256, layout.packed_bytes(n, k)).astype(np.uint8)
    weight = PackedMatrix(raw, layout, n=n, k=k)
    assert ternary_matmul(q, weight).reshape(6, n).tolist() == plain_product(q, weight[:])


def test_weights_are_trits_or_signs():
    assert {layout.name for layout in module.LAYOUTS} == LAYOUTS.keys() - {"q4r"}


def test_rows_of_another_width_are_refused():
    with pytest.raises(BadOperand, match="rows have 4 columns, the weight has 5"):
        ternary_matmul(np.zeros((1, 4), np.int8), np.zeros((2, 5), np.int8))
