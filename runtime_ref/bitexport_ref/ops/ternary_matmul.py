"""TernaryMatMul: int8 activations times ternary or binary weights, exact in s32."""

from __future__ import annotations

from bitexport_ref.layouts import B1R, P2B, P2R, P16, T5X3
from bitexport_ref.numerics import S8, S32
from bitexport_ref.products import Integers, integer_matmul

LAYOUTS = (P2R, B1R, P2B, T5X3, P16)


def ternary_matmul(q: S8, weight: Integers) -> S32:
    """Return q @ weight.T: (..., k), (n, k) -> (..., n)."""
    y = integer_matmul(q.reshape(-1, q.shape[-1]), weight)
    return y.reshape(*q.shape[:-1], weight.shape[0])
