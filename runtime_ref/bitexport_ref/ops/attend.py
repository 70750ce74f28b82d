"""Attend: causal attention over the state (NUMERICS.md, Attend)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import BadOperand
from bitexport_ref.numerics import F32, S8, exp, lane_dot, lane_sum_positions
from bitexport_ref.ops.append_cache import State

_ROWS_AT_ONCE = 64
_SCORES_AT_ONCE = 32768


def attend(query: F32, key: State, value: State, *, heads: int, kv_heads: int, scale: float) -> F32:
    """Attend: (b, s, heads * d), (b, kv_heads, past + s, d) twice -> (b, s, heads * d)."""
    return attend_scaled(query, key, None, value, None, heads=heads, kv_heads=kv_heads, scale=scale)


def attend_scaled(
    query: F32, key: State | S8, key_scale: F32 | None, value: State | S8,
    value_scale: F32 | None, *, heads: int, kv_heads: int, scale: float,
) -> F32:  # fmt: skip
    """Attend to states whose rows have scales, (b, kv_heads, past + s, 1), or none."""
    batch, rows, columns = query.shape
    head_size = key.shape[3]
    fits = key.shape[1] == kv_heads and columns == heads * head_size and value.shape == key.shape
    scales_fit = all(
        each is None or each.shape == (*key.shape[:3], 1) for each in (key_scale, value_scale)
    )
    if not fits or not scales_fit:
        message = f"query {query.shape}, key {key.shape} and value {value.shape} do not fit"
        raise BadOperand(message)
    past = key.shape[2] - rows
    group = np.arange(heads) * kv_heads // heads
    y = np.empty((batch, rows, heads, head_size), np.float32)
    for b in range(batch):
        q = query[b].reshape(rows, heads, head_size).transpose(2, 1, 0)
        k = np.ascontiguousarray(key[b].transpose(2, 0, 1)).astype(np.float32)
        v = np.ascontiguousarray(value[b].transpose(1, 0, 2)).astype(np.float32)
        of_keys = None if key_scale is None else key_scale[b, :, :, 0]
        of_values = None if value_scale is None else value_scale[b, :, :, 0].T
        for start in range(0, rows, _ROWS_AT_ONCE):
            stop = min(rows, start + _ROWS_AT_ONCE)
            seen = past + stop
            y[b, start:stop] = _attend_rows(
                np.ascontiguousarray(q[:, :, start:stop]),
                k[:, :, :seen],
                None if of_keys is None else of_keys[:, :seen],
                v[:seen],
                None if of_values is None else of_values[:seen],
                group,
                np.float32(scale),
            )
    return y.reshape(query.shape)


def _attend_rows(
    query: F32, key: F32, key_scale: F32 | None, value: F32, value_scale: F32 | None,
    group: NDArray[np.int64], scale: np.float32,
) -> F32:  # fmt: skip
    """Attend from the last rows: (d, heads, r), (d, kv, p), (p, kv, d) -> (r, heads, d).

    Scales, where there are any: (kv, p) of the keys, (p, kv) of the values.
    """
    head_size, heads, rows = query.shape
    positions = key.shape[2]
    past = positions - rows
    weights = np.empty((positions, heads, rows), np.float32)
    unseen = np.arange(positions) > past + np.arange(rows)[:, None]
    step = max(1, _SCORES_AT_ONCE // (rows * positions))
    for first in range(0, heads, step):
        some = slice(first, first + step)
        score = lane_dot(query[:, some, :, None], key[:, group[some], None, :])
        if key_scale is not None:
            score = score * key_scale[group[some], None, :]
        score = score * scale
        score[:, unseen] = -np.inf  # exp gives +0; nothing below reads it
        largest = np.max(score, axis=-1, keepdims=True)
        weights[:, some] = exp(score - largest).transpose(2, 0, 1)
    z = lane_sum_positions(weights, past)
    if value_scale is not None:
        weights = weights * value_scale[:, group, None]

    spread = np.ascontiguousarray(value[:, group])[..., None]
    y = np.zeros((heads, head_size, rows), np.float32)
    product = np.empty_like(y)
    for position in range(positions):
        first = max(0, position - past)
        terms, sums = product[..., first:], y[..., first:]
        np.multiply(weights[position, :, None, first:], spread[position], out=terms)
        np.add(sums, terms, out=sums)
    return (y / z[:, None, :]).transpose(2, 0, 1)
