"""DenseMatMul: rows times a matrix that is not ternary (NUMERICS.md, DenseMatMul)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import BadOperand
from bitexport_ref.numerics import F32, S8, S32, bf16_to_f32, integer_matmul, lane_dot

Element = TypeVar("Element", bound=np.generic)

_COLUMNS_AT_ONCE = 1024
_SUMS_AT_ONCE = 16384


def dense_matmul_f32(x: F32, weight: F32) -> F32:
    """Return lane_sum(x * weight): (..., k), (n, k) -> (..., n)."""
    return _lane_matmul(x, weight, lambda rows: rows)


def dense_matmul_bf16(x: F32, weight: NDArray[np.uint16]) -> F32:
    """Return lane_sum(x * weight), weight as bf16 bits: (..., k), (n, k) -> (..., n)."""
    return _lane_matmul(x, weight, bf16_to_f32)


def dense_matmul_q8(q: S8, weight: S8) -> S32:
    """Return q @ weight.T exactly: (..., k), (n, k) -> (..., n)."""
    n, k = _agreed(q, weight)
    return integer_matmul(q.reshape(-1, k), weight, 128).reshape(*q.shape[:-1], n)


def _lane_matmul(x: F32, weight: NDArray[Element], widen: Callable[[NDArray[Element]], F32]) -> F32:
    """Compute blocks of the output, small enough to stay in a cache."""
    n, k = _agreed(x, weight)
    rows = x.reshape(-1, k)
    y = np.empty((rows.shape[0], n), np.float32)
    for column in range(0, n, _COLUMNS_AT_ONCE):
        columns = slice(column, min(n, column + _COLUMNS_AT_ONCE))
        transposed = np.ascontiguousarray(widen(weight[columns]).T)[:, None, :]
        step = max(1, _SUMS_AT_ONCE // (columns.stop - columns.start))
        for row in range(0, rows.shape[0], step):
            part = np.ascontiguousarray(rows[row : row + step].T)[:, :, None]
            y[row : row + step, columns] = lane_dot(part, transposed)
    return y.reshape(*x.shape[:-1], n)


def _agreed(x: NDArray[np.generic], weight: NDArray[np.generic]) -> tuple[int, int]:
    """Return n and k of a product whose operands fit."""
    n, k = weight.shape
    if x.shape[-1] != k:
        message = f"rows have {x.shape[-1]} columns, the weight has {k}"
        raise BadOperand(message)
    return n, k
