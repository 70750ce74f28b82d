"""From logits to nats, in float64, with the same bits on every machine.

The promise of bitexport ends at the logits; a perplexity is computed from them here.  So that two
workers of a cluster never disagree in the last bit, exp and log are made of operations that
IEEE-754 rounds correctly (a processor's own exp is not), and sums have one order or are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

# ln 2 in two parts, the first short enough that its product with an exponent is exact (fdlibm).
LN2_HIGH = float.fromhex("0x1.62e42feep-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
PER_LN2 = float.fromhex("0x1.71547652b82fep+0")
EXP_TERMS = tuple(1.0 / math.factorial(power) for power in range(13, 1, -1))  # Taylor, |r| < 0.347
LOG_TERMS = tuple(1.0 / (2 * power + 1) for power in range(10, -1, -1))  # atanh, |z| < 0.172
LEAST_EXPONENT = -750.0  # exp of anything less is zero in float64
BLOCK_ELEMENTS = 1 << 18  # float64 at a time: what a processor's cache holds


def token_nats(logits: F32, targets: Sequence[int]) -> F64:
    """Return -log softmax(logits)[target] of each row; logits (rows, vocab), targets (rows)."""
    rows = max(1, BLOCK_ELEMENTS // logits.shape[-1])
    wanted = np.array(targets)
    blocks = [
        _block_nats(logits[start : start + rows], wanted[start : start + rows])
        for start in range(0, len(logits), rows)
    ]
    return np.concatenate(blocks)


def _block_nats(logits: F32, targets: NDArray[np.int64]) -> F64:
    largest = logits.max(-1, keepdims=True).astype(np.float64)
    shifted = logits - largest
    sums = np.add.accumulate(exp(shifted), axis=-1)[:, -1]  # accumulate has one order; sum has not
    return np.asarray(log(sums) - shifted[np.arange(len(targets)), targets])


def divergence(of: F32, to: F32) -> F64:
    """Return KL(softmax(of) || softmax(to)) of each row, in nats; logits (rows, vocab) twice."""
    rows = max(1, BLOCK_ELEMENTS // of.shape[-1])
    blocks = [
        _block_divergence(of[start : start + rows], to[start : start + rows])
        for start in range(0, len(of), rows)
    ]
    return np.concatenate(blocks)


def _block_divergence(of: F32, to: F32) -> F64:
    p, q = _log_softmax(of), _log_softmax(to)
    return np.asarray(np.add.accumulate(exp(p) * (p - q), axis=-1)[:, -1])


def _log_softmax(logits: F32) -> F64:
    shifted = logits - logits.max(-1, keepdims=True).astype(np.float64)
    return np.asarray(shifted - log(np.add.accumulate(exp(shifted), axis=-1)[:, -1:]))


def exp(x: F64) -> F64:
    """Return e to the power of x, within 2 units in the last place, for x up to 709."""
    x = np.maximum(x, LEAST_EXPONENT)
    n = np.rint(x * PER_LN2)
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    p = np.full_like(r, EXP_TERMS[0])
    for term in EXP_TERMS[1:]:
        p *= r
        p += term
    p *= r
    p *= r
    p += r
    p += 1.0
    return np.asarray(np.ldexp(p, n.astype(np.int32)))


def log(x: F64) -> F64:
    """Return the natural logarithm of x, at least 1, within 3 units in the last place."""
    m, n = np.frexp(x)
    low = m < math.sqrt(0.5)
    m = np.where(low, 2 * m, m)
    n = n - low
    z = (m - 1) / (m + 1)
    w = z * z
    p = np.full_like(z, LOG_TERMS[0])
    for term in LOG_TERMS[1:]:
        p = p * w + term
    return np.asarray(n * LN2_HIGH + (2 * z * p + n * LN2_LOW))
