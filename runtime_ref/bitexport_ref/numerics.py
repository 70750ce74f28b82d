"""The arithmetic of NUMERICS.md: float sums in eight lanes, conversions, our own exp.

Nothing here calls np.sum, np.exp or a BLAS on real floats: their bits depend on the machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import BadOperand, NotFinite

F16 = NDArray[np.float16]
F32 = NDArray[np.float32]
S32 = NDArray[np.int32]
S8 = NDArray[np.int8]

LANES = 8
LONGEST_INTEGER_SUM = 131056
"""Largest k of an integer product: keeps any sum inside s32 (NUMERICS.md, section 4)."""
GROUP_SIZES = (16, 4096)
"""Smallest and largest group; a group is a multiple of the smallest (the same section)."""

_ROUNDER = np.float32(float.fromhex("0x1.8p23"))


# ---- rounding and conversions (section 1) ----------------------------------------------------


def rint(values: F32) -> F32:
    """Round to the nearest integer, ties to even; any shape."""
    return np.rint(values)


def bf16_to_f32(bits: NDArray[np.uint16]) -> F32:
    """Widen bf16, given as its bits, exactly; any shape."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def f16_to_f32(values: NDArray[np.float16]) -> F32:
    """Widen f16 exactly; any shape."""
    return values.astype(np.float32)


def f32_to_f16(values: F32) -> NDArray[np.float16]:
    """Narrow to f16, round to nearest even; a result that is not finite is an error; any shape."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        narrow = values.astype(np.float16)
    require_finite(narrow, "f16")
    return narrow


def require_finite(values: NDArray[np.floating], what: str) -> None:
    """Raise `NotFinite` naming the first element that is a NaN or an infinity."""
    finite = np.isfinite(values)
    if not finite.all():
        at = tuple(int(i) for i in np.argwhere(~finite)[0])
        message = f"{what} is not finite: {values[at]} at {list(at)}"
        raise NotFinite(message)


# ---- eight-lane sums (section 1, rule 4) -----------------------------------------------------


def lane_sum(values: F32) -> F32:
    """Sum over the last axis: (..., n) -> (...)."""
    lanes = np.zeros((*values.shape[:-1], LANES), np.float32)
    for start in range(0, values.shape[-1], LANES):
        part = values[..., start : start + LANES]
        lanes[..., : part.shape[-1]] += part
    return lane_tree([lanes[..., lane] for lane in range(LANES)])


def lane_sum_positions(values: F32, past: int) -> F32:
    """Sum row t over the positions it sees, 0 … past + t: (positions, ..., rows) -> (..., rows).

    The lane is the position mod 8; positions that a row does not see are skipped.
    """
    lanes = np.zeros((LANES, *values.shape[1:]), np.float32)
    for position, terms in enumerate(values):
        first = max(0, position - past)
        lanes[position % LANES, ..., first:] += terms[..., first:]
    return lane_tree(lanes)


def lane_dot(left: F32, right: F32) -> F32:
    """Return lane_sum over i of left[i] * right[i]: (n, *A), (n, *B) -> A and B, broadcast."""
    shape = np.broadcast_shapes(left.shape[1:], right.shape[1:])
    lanes = np.zeros((LANES, *shape), np.float32)
    product = np.empty(shape, np.float32)
    for i in range(left.shape[0]):
        np.multiply(left[i], right[i], out=product)
        lane = lanes[i % LANES, ...]
        np.add(lane, product, out=lane)
    return lane_tree(lanes)


def lane_tree(lanes: Sequence[F32] | F32) -> F32:
    """Add eight lanes in the order that NUMERICS.md gives."""
    l0, l1, l2, l3, l4, l5, l6, l7 = lanes
    total: F32 = ((l0 + l4) + (l2 + l6)) + ((l1 + l5) + (l3 + l7))
    return total


# ---- groups (sections 3 and 4) ---------------------------------------------------------------


def group_count(columns: int, group: int) -> int:
    """Return how many groups columns fall into; the last may be shorter."""
    smallest, largest = GROUP_SIZES
    if group % smallest or not smallest <= group <= largest:
        message = f"groups of {group}: not a multiple of {smallest} from {smallest} to {largest}"
        raise BadOperand(message)
    if columns > LONGEST_INTEGER_SUM:
        message = f"{columns} columns, more than {LONGEST_INTEGER_SUM}"
        raise BadOperand(message)
    return -(-columns // group)


# ---- exp (section 2) -------------------------------------------------------------------------


def _f32(literal: str) -> np.float32:
    """Read a hexadecimal float literal as f32."""
    return np.float32(float.fromhex(literal))


_SMALLEST, _LARGEST = np.float32(-87), np.float32(88)
_LOG2_E = _f32("0x1.715476p+0")
_LN2_HIGH, _LN2_LOW = _f32("0x1.62e4p-1"), _f32("0x1.7f7d1cp-20")
_LEADING = _f32("0x1.6d110ap-10")
_COEFFICIENTS = tuple(
    _f32(c) for c in ("0x1.120b6ep-7", "0x1.55551ap-5", "0x1.5554dcp-3", "0x1p-1")
)


def exp(x: F32) -> F32:
    """Return e to the x by the one sequence of NUMERICS.md, section 2; any shape."""
    with np.errstate(invalid="ignore"):
        t = np.clip(x, _SMALLEST, _LARGEST)
        n = (t * _LOG2_E + _ROUNDER) - _ROUNDER
        r = (t - n * _LN2_HIGH) - n * _LN2_LOW
        p = np.full_like(r, _LEADING)
        for coefficient in _COEFFICIENTS:
            p = p * r + coefficient
        y = np.float32(1) + (r + (r * r) * p)
        whole = np.where(np.isnan(n), np.float32(0), n).astype(np.int32)
        half = whole >> 1
        inside = (y * _power_of_two(half)) * _power_of_two(whole - half)
    above = np.where(x > _LARGEST, np.float32(np.inf), inside)
    result: F32 = np.where(x < _SMALLEST, np.float32(0), above)
    return result


def _power_of_two(exponent: S32) -> F32:
    """Build 2 to the exponent from its bits; exponents -126 … 127."""
    return ((exponent + np.int32(127)) << np.int32(23)).view(np.float32)
