"""Mul: element by element (NUMERICS.md, Mul)."""

from __future__ import annotations

from bitexport_ref.errors import BadOperand
from bitexport_ref.numerics import F32


def mul(a: F32, b: F32) -> F32:
    """Return a * b: (..., columns), and the same or (columns) -> (..., columns)."""
    if b.shape not in (a.shape, a.shape[-1:]):
        message = f"the second operand {b.shape} fits neither {a.shape} nor its last axis"
        raise BadOperand(message)
    return a * b
