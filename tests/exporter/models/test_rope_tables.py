"""RoPE tables: the bits that NUMERICS.md, section 5, defines; no machine's own sine takes part."""

from __future__ import annotations

import decimal
import math
import struct
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from bitexport.models.parts.rope_tables import cos_sin, inverse_frequencies, rope_tables

LARGEST_ANGLE = 1 << 19


def rounded(value: decimal.Decimal | Fraction) -> np.float32:
    """Round an exact number to float32, ties to even, by comparing fractions."""
    exact = Fraction(value)
    near = np.float32(float(exact))
    others = (np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf)))
    candidates = [near, *others]

    def badness(f: np.float32) -> tuple[Fraction, int]:
        return abs(Fraction(float(f)) - exact), struct.unpack("<I", struct.pack("<f", f))[0] & 1

    return min(candidates, key=badness)


@pytest.mark.parametrize("base", [10000.0, 500000.0, 1000000.0, 12345.678])
@pytest.mark.parametrize("size", [2, 8, 10, 16, 64, 80, 128])
def test_inverse_frequencies_are_the_decimal_truth(size: int, base: float) -> None:
    expected = []
    with decimal.localcontext() as context:
        context.prec = 60
        for i in range(size // 2):
            exponent = rounded(Fraction(2 * i, size))
            power = (decimal.Decimal(base).ln() * decimal.Decimal(float(exponent))).exp()
            expected.append(rounded(1 / Fraction(float(rounded(power)))))
    found = inverse_frequencies(size, base)
    assert found.dtype == np.float32
    assert found.tobytes() == np.array(expected, np.float32).tobytes()


def of_numpy(angles: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return cosine and sine by NumPy in float64, rounded once."""
    wide = angles.astype(np.float64)
    return np.cos(wide).astype(np.float32), np.sin(wide).astype(np.float32)


def test_every_bit_is_that_of_float64_at_the_angles_of_a_model() -> None:
    angles = np.arange(4096, dtype=np.float32)[:, None] * inverse_frequencies(128, 500000.0)
    for found, expected in zip(cos_sin(angles), of_numpy(angles), strict=True):
        assert found.tobytes() == expected.tobytes()


def test_every_bit_is_that_of_float64_around_the_quarter_turns() -> None:
    quarters = (np.arange(1000) * (math.pi / 2)).astype(np.float32)
    angles = np.concatenate([quarters, np.nextafter(quarters, np.float32(np.inf))])
    for found, expected in zip(cos_sin(angles), of_numpy(angles), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_largest_angles_are_one_rounding_from_the_truth() -> None:
    """Near, not equal: NumPy's own float64 sine is not the truth to the last bit out there."""
    rng = np.random.default_rng(3)
    angles = rng.uniform(LARGEST_ANGLE / 2, LARGEST_ANGLE, 5000).astype(np.float32)
    wide = angles.astype(np.float64)
    for found, exact in zip(cos_sin(angles), (np.cos(wide), np.sin(wide)), strict=True):
        ulp = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
        assert np.all(np.abs(found - exact) <= 0.5000001 * ulp)


@pytest.mark.parametrize(("positions", "size"), [(1, 2), (64, 16), (48, 10), (300, 128)])
def test_tables_read_in_any_blocks_are_the_whole_table(positions: int, size: int) -> None:
    for table in rope_tables(positions, size, 10000.0):
        assert (table.rows, table.columns) == (positions, size // 2)
        whole = table.read_rows(0, positions)
        assert whole.shape == (positions, size // 2)
        assert whole.dtype == np.float32
        rows = [table.read_rows(at, at + 1).tobytes() for at in reversed(range(positions))]
        assert b"".join(reversed(rows)) == whole.tobytes()


def test_the_first_position_is_not_turned() -> None:
    cos, sin = rope_tables(4, 8, 10000.0)
    assert cos.read_rows(0, 1).tolist() == [[1.0] * 4]
    assert sin.read_rows(0, 1).tolist() == [[0.0] * 4]
