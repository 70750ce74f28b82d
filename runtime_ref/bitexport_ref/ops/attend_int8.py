"""AttendInt8: causal attention over a state of int8 codes (NUMERICS.md, AttendInt8)."""

from __future__ import annotations

from bitexport_ref.numerics import F32, S8
from bitexport_ref.ops.attend import attend_scaled


def attend_int8(
    query: F32, key: S8, key_scale: F32, value: S8, value_scale: F32,
    *, heads: int, kv_heads: int, scale: float,
) -> F32:  # fmt: skip
    """Attend: (b, s, heads * d); twice (b, kv_heads, p, d) and (b, kv_heads, p, 1) -> as query."""
    return attend_scaled(
        query, key, key_scale, value, value_scale, heads=heads, kv_heads=kv_heads, scale=scale
    )
