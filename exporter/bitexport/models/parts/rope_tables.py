"""RoPE tables, bit by bit as NUMERICS.md, section 5, writes them down."""

from __future__ import annotations

import dataclasses
import decimal
import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bitexport.checkpoints.matrix import Kind, Matrix

Angles = NDArray[np.float64]
Frequencies = NDArray[np.float32]
_PI = tuple(map(float.fromhex, ("0x1.921fb544p+0", "0x1.0b4611a6p-34", "0x1.3198a2e037073p-69")))
_SIN = [(-1) ** (k + 1) / math.factorial(2 * k + 3) for k in range(8)]
_COS = [(-1) ** (k + 1) / math.factorial(2 * k + 2) for k in range(8)]
_ONE = np.float32(1)
_TURN = np.float32(2 * math.pi)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rope:
    """How positions turn heads: what transformers calls `rope_parameters`."""

    base: float
    kind: Literal["default", "linear", "llama3", "yarn"] = "default"
    factor: float = 1.0
    original: int = 1
    """Positions of the pretraining: llama3 and yarn stretch them."""
    low_frequency: float = 1.0
    high_frequency: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    attention: float = 1.0
    """Cosines and sines are multiplied with it."""


def rope_tables(
    positions: int, inverse: Frequencies, attention: float = 1.0
) -> tuple[Matrix, Matrix]:
    """Return cos and sin, float32 [positions, size / 2], computed a block of rows at a time."""
    factor = np.float32(attention)

    def angles(start: int, stop: int) -> NDArray[np.float32]:
        return np.arange(start, stop, dtype=np.float32)[:, None] * inverse[None, :]

    def read_cos(start: int, stop: int) -> NDArray[np.float32]:
        return cos_sin(angles(start, stop))[0] * factor

    def read_sin(start: int, stop: int) -> NDArray[np.float32]:
        return cos_sin(angles(start, stop))[1] * factor

    half = len(inverse)
    return (
        Matrix("rope.cos", Kind.FLOAT, positions, half, read_cos),
        Matrix("rope.sin", Kind.FLOAT, positions, half, read_sin),
    )


def frequencies(rope: Rope, size: int) -> Frequencies:
    """Return what a position is multiplied with, float32 [size / 2], for heads of a size."""
    return scaled(rope, powers(size, rope.base))


def powers(size: int, base: float) -> Frequencies:
    """Return base^(2i / size) for i < size / 2: base and exponent float32, the power rounded."""
    exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    exact = decimal.Decimal(float(np.float32(base)))
    with decimal.localcontext() as context:
        context.prec = 40
        truth = [exact ** decimal.Decimal(float(e)) for e in exponents]
    return np.array([_nearest_float32(p) for p in truth], np.float32)


def scaled(rope: Rope, powers: Frequencies) -> Frequencies:
    """Return the frequencies that belong to these powers of the base."""
    inverse = _ONE / powers
    if rope.kind == "linear":
        return inverse / np.float32(rope.factor)
    if rope.kind == "llama3":
        return _llama3(rope, inverse)
    if rope.kind == "yarn":
        return _yarn(rope, powers)
    return inverse


def _llama3(rope: Rope, inverse: Frequencies) -> Frequencies:
    """Leave short waves, stretch long ones, and blend between (`_compute_llama3_parameters`)."""
    factor, original = np.float32(rope.factor), np.float32(rope.original)
    longest = np.float32(rope.original / rope.low_frequency)
    shortest = np.float32(rope.original / rope.high_frequency)
    between = np.float32(rope.high_frequency - rope.low_frequency)
    wave = (_ONE / inverse) * _TURN
    smooth = ((_ONE / wave) * original - np.float32(rope.low_frequency)) / between
    blended = ((_ONE - smooth) * inverse) / factor + smooth * inverse
    stretched = np.where(wave > longest, inverse / factor, inverse)
    return np.where((wave < shortest) | (wave > longest), stretched, blended)


def _yarn(rope: Rope, powers: Frequencies) -> Frequencies:
    """Blend stretched and unstretched frequencies along a ramp (`_compute_yarn_parameters`)."""
    half = len(powers)
    low, high = (_turning(rope, turns, 2 * half) for turns in (rope.beta_fast, rope.beta_slow))
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * half - 1)
    width = np.float32((high if high != low else high + 0.001) - low)
    ramp = np.clip((np.arange(half, dtype=np.float32) - np.float32(low)) / width, 0, 1)
    kept = _ONE - ramp.astype(np.float32)
    inverse, stretched = _ONE / powers, _ONE / (np.float32(rope.factor) * powers)
    return np.asarray(stretched * (_ONE - kept) + inverse * kept, np.float32)


def _turning(rope: Rope, turns: float, size: int) -> float:
    """Return the column, of `size`, that turns so often within the positions of pretraining."""
    logarithm = math.log(rope.original / (turns * 2 * math.pi))
    return (size * logarithm) / (2 * math.log(rope.base))


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
