"""Attend: causal attention over the state (NUMERICS.md, Attend)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import BadOperand
from bitexport_ref.numerics import F32, exp, lane_dot, lane_sum_positions
from bitexport_ref.ops.append_cache import State

_ROWS_AT_ONCE = 64
_SCORES_AT_ONCE = 32768


def attend(query: F32, key: State, value: State, *, heads: int, kv_heads: int, scale: float) -> F32:
    """Attend: (b, s, heads * d), (b, kv_heads, past + s, d) twice -> (b, s, heads * d)."""
    batch, rows, columns = query.shape
    head_size = key.shape[3]
    if key.shape[1] != kv_heads or columns != heads * head_size or value.shape != key.shape:
        message = f"query {query.shape}, key {key.shape} and value {value.shape} do not fit"
        raise BadOperand(message)
    past = key.shape[2] - rows
    group = np.arange(heads) * kv_heads // heads
    y = np.empty((batch, rows, heads, head_size), np.float32)
    for b in range(batch):
        q = query[b].reshape(rows, heads, head_size).transpose(2, 1, 0)
        k = np.ascontiguousarray(key[b].transpose(2, 0, 1)).astype(np.float32)
        v = np.ascontiguousarray(value[b].transpose(1, 0, 2)).astype(np.float32)
        for start in range(0, rows, _ROWS_AT_ONCE):
            stop = min(rows, start + _ROWS_AT_ONCE)
            seen = past + stop
            y[b, start:stop] = _attend_rows(
                np.ascontiguousarray(q[:, :, start:stop]),
                k[:, :, :seen],
                v[:seen],
                group,
                np.float32(scale),
            )
    return y.reshape(query.shape)


def _attend_rows(
    query: F32, key: F32, value: F32, group: NDArray[np.int64], scale: np.float32
) -> F32:
    """Attend from the last rows: (d, heads, r), (d, kv, p), (p, kv, d) -> (r, heads, d)."""
    head_size, heads, rows = query.shape
    positions = key.shape[2]
    past = positions - rows
    weights = np.empty((positions, heads, rows), np.float32)
    unseen = np.arange(positions) > past + np.arange(rows)[:, None]
    step = max(1, _SCORES_AT_ONCE // (rows * positions))
    for first in range(0, heads, step):
        some = slice(first, first + step)
        score = lane_dot(query[:, some, :, None], key[:, group[some], None, :]) * scale
        score[:, unseen] = -np.inf  # exp gives +0; nothing below reads it
        largest = np.max(score, axis=-1, keepdims=True)
        weights[:, some] = exp(score - largest).transpose(2, 0, 1)
    z = lane_sum_positions(weights, past)

    spread = np.ascontiguousarray(value[:, group])[..., None]
    y = np.zeros((heads, head_size, rows), np.float32)
    product = np.empty_like(y)
    for position in range(positions):
        first = max(0, position - past)
        terms, sums = product[..., first:], y[..., first:]
        np.multiply(weights[position, :, None, first:], spread[position], out=terms)
        np.add(sums, terms, out=sums)
    return (y / z[:, None, :]).transpose(2, 0, 1)
