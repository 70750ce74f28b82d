"""RoPE tables, bit by bit as NUMERICS.md, section 5, writes them down."""

from __future__ import annotations

import decimal
import math

import numpy as np
from numpy.typing import NDArray

from bitexport.checkpoints.matrix import Kind, Matrix

Angles = NDArray[np.float64]
_PI = tuple(map(float.fromhex, ("0x1.921fb544p+0", "0x1.0b4611a6p-34", "0x1.3198a2e037073p-69")))
_SIN = [(-1) ** (k + 1) / math.factorial(2 * k + 3) for k in range(8)]
_COS = [(-1) ** (k + 1) / math.factorial(2 * k + 2) for k in range(8)]


def rope_tables(positions: int, size: int, base: float) -> tuple[Matrix, Matrix]:
    """Return cos and sin, float32 [positions, size / 2], computed a block of rows at a time."""
    inverse = inverse_frequencies(size, base)

    def angles(start: int, stop: int) -> NDArray[np.float32]:
        return np.arange(start, stop, dtype=np.float32)[:, None] * inverse[None, :]

    def read_cos(start: int, stop: int) -> NDArray[np.float32]:
        return cos_sin(angles(start, stop))[0]

    def read_sin(start: int, stop: int) -> NDArray[np.float32]:
        return cos_sin(angles(start, stop))[1]

    half = size // 2
    return (
        Matrix("rope.cos", Kind.FLOAT, positions, half, read_cos),
        Matrix("rope.sin", Kind.FLOAT, positions, half, read_sin),
    )


def inverse_frequencies(size: int, base: float) -> NDArray[np.float32]:
    """Return 1 / base^(2i / size) for i < size / 2, each step rounded to float32."""
    exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    with decimal.localcontext() as context:
        context.prec = 40
        powers = [decimal.Decimal(base) ** decimal.Decimal(float(e)) for e in exponents]
    return np.float32(1) / np.array([_nearest_float32(p) for p in powers], np.float32)


def cos_sin(angles: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return cosine and sine by fixed float64 polynomials, each rounded once."""
    a = angles.astype(np.float64)
    n = np.rint(a * float.fromhex("0x1.45f306dc9c883p-1"))
    r = ((a - n * _PI[0]) - n * _PI[1]) - n * _PI[2]
    z = r * r
    sine = r + (r * z) * _horner(z, _SIN)
    cosine = 1.0 + z * _horner(z, _COS)
    quarter = n.astype(np.int64) & 3
    cos = np.choose(quarter, [cosine, -sine, -cosine, sine])
    sin = np.choose(quarter, [sine, cosine, -sine, -cosine])
    return cos.astype(np.float32), sin.astype(np.float32)


def _horner(z: Angles, coefficients: list[float]) -> Angles:
    total = np.full_like(z, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = coefficient + z * total
    return total


def _nearest_float32(value: decimal.Decimal) -> np.float32:
    """Round once, not through float64: of the two neighbours take the nearer."""
    guess = np.float32(float(value))
    near = [np.nextafter(guess, np.float32(0)), guess, np.nextafter(guess, np.float32(np.inf))]
    return min(near, key=lambda f: abs(decimal.Decimal(float(f)) - value))
