"""DenseMatMul: rows times a matrix that is not ternary (NUMERICS.md, DenseMatMul)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.numerics import F32, S8, S32, bf16_to_f32, f16_to_f32
from bitexport_ref.products import integer_matmul, lane_matmul
from bitexport_ref.stored import Rows

Element = TypeVar("Element", bound=np.generic)


def dense_matmul_f32(x: F32, weight: Rows[np.float32]) -> F32:
    """Return lane_sum(x * weight): (..., k), (n, k) -> (..., n)."""
    return _lane_matmul(x, weight, lambda rows: rows)


def dense_matmul_f16(x: F32, weight: Rows[np.float16]) -> F32:
    """Return lane_sum(x * weight): (..., k), (n, k) -> (..., n)."""
    return _lane_matmul(x, weight, f16_to_f32)


def dense_matmul_bf16(x: F32, weight: Rows[np.uint16]) -> F32:
    """Return lane_sum(x * weight), weight as bf16 bits: (..., k), (n, k) -> (..., n)."""
    return _lane_matmul(x, weight, bf16_to_f32)


def dense_matmul_q8(q: S8, weight: Rows[np.int8]) -> S32:
    """Return q @ weight.T exactly: (..., k), (n, k) -> (..., n)."""
    y = integer_matmul(q.reshape(-1, q.shape[-1]), weight)
    return y.reshape(*q.shape[:-1], weight.shape[0])


def _lane_matmul(x: F32, weight: Rows[Element], widen: Callable[[NDArray[Element]], F32]) -> F32:
    """Multiply rows of any leading axes."""
    y = lane_matmul(x.reshape(-1, x.shape[-1]), weight, widen)
    return y.reshape(*x.shape[:-1], weight.shape[0])
