"""RoPE tables: the bits that NUMERICS.md, section 5, defines; no machine's own sine takes part."""

from __future__ import annotations

import decimal
import math
import random
import struct
from fractions import Fraction

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from bitexport.models.parts.rope_tables import (
    Rope,
    cos_sin,
    frequencies,
    powers,
    rope_tables,
    scaled,
)

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
            exact = decimal.Decimal(float(np.float32(base)))
            power = (exact.ln() * decimal.Decimal(float(exponent))).exp()
            expected.append(rounded(1 / Fraction(float(rounded(power)))))
    found = frequencies(Rope(base=base), size)
    assert found.dtype == np.float32
    assert found.tobytes() == np.array(expected, np.float32).tobytes()


def of_numpy(angles: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return cosine and sine by NumPy in float64, rounded once."""
    wide = angles.astype(np.float64)
    return np.cos(wide).astype(np.float32), np.sin(wide).astype(np.float32)


def test_every_bit_is_that_of_float64_at_the_angles_of_a_model() -> None:
    angles = np.arange(4096, dtype=np.float32)[:, None] * frequencies(Rope(base=500000.0), 128)
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
    for table in rope_tables(positions, frequencies(Rope(base=10000.0), size)):
        assert (table.rows, table.columns) == (positions, size // 2)
        whole = table.read_rows(0, positions)
        assert whole.shape == (positions, size // 2)
        assert whole.dtype == np.float32
        rows = [table.read_rows(at, at + 1).tobytes() for at in reversed(range(positions))]
        assert b"".join(reversed(rows)) == whole.tobytes()


def test_the_first_position_is_not_turned() -> None:
    cos, sin = rope_tables(4, frequencies(Rope(base=10000.0), 8))
    assert cos.read_rows(0, 1).tolist() == [[1.0] * 4]
    assert sin.read_rows(0, 1).tolist() == [[0.0] * 4]


# ---- scaled as transformers scales ----------------------------------------------------------


def drawn(seed: int) -> tuple[Rope, int]:
    """Return a rotation of any kind, and a head size."""
    draw = random.Random(seed)
    rope = Rope(
        base=draw.choice([10000.0, 500000.0, 1000042.0, 12345.678]),
        kind=draw.choice(["default", "linear", "llama3", "yarn"]),
        factor=draw.choice([1.0, 1.5, 2.0, 3.7, 8.0, 32.0, 40.0]),
        original=draw.choice([64, 256, 2048, 8192, 32768]),
        low_frequency=draw.choice([0.5, 1.0]),
        high_frequency=draw.choice([3.3, 4.0, 32.0]),
        beta_fast=draw.choice([3.0, 16.0, 32.0]),
        beta_slow=draw.choice([1.0, 2.5]),
        truncate=draw.choice([True, False]),
    )
    return rope, draw.choice([4, 8, 16, 64, 80, 96, 128, 256])


def embedding_of(rope: Rope, size: int, **more: object) -> LlamaRotaryEmbedding:
    """Return the module of transformers that turns so."""
    said: dict[str, object] = {"rope_type": rope.kind, "rope_theta": rope.base}
    if rope.kind != "default":
        said["factor"] = rope.factor
    if rope.kind in ("llama3", "yarn"):
        said["original_max_position_embeddings"] = rope.original
    if rope.kind == "llama3":
        said |= {"low_freq_factor": rope.low_frequency, "high_freq_factor": rope.high_frequency}
    if rope.kind == "yarn":
        said |= {"beta_fast": rope.beta_fast, "beta_slow": rope.beta_slow}
        said["truncate"] = rope.truncate
    config = LlamaConfig(
        hidden_size=4 * size, num_attention_heads=4,
        max_position_embeddings=int(rope.original * rope.factor) + 1,
        rope_parameters=said | more,
    )  # fmt: skip
    return LlamaRotaryEmbedding(config)


@pytest.mark.parametrize("seed", range(60))
def test_every_bit_of_inv_freq_is_that_of_transformers_behind_the_power(seed: int) -> None:
    """The power of torch is up to 1 ULP from the truth; all that follows it is the same bits."""
    rope, size = drawn(seed)
    of_torch = rope.base ** (torch.arange(0, size, 2, dtype=torch.float) / size)
    own = powers(size, rope.base)
    assert np.all(np.abs(own - of_torch.numpy()) <= np.spacing(own))
    expected = embedding_of(rope, size).inv_freq.numpy()
    assert scaled(rope, of_torch.numpy()).tobytes() == expected.tobytes()


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("base", [10000.0, 500000.0])
def test_every_bit_of_inv_freq_is_that_of_transformers_for_published_models(
    base: float, size: int
) -> None:
    """2B4T, Llama3-8B, 1bitLLM and TriLM: torch's power is the rounded one."""
    for kind in ("default", "linear", "llama3", "yarn"):
        rope = Rope(base=base, kind=kind, factor=8.0, original=8192)
        expected = embedding_of(rope, size).inv_freq.numpy()
        assert frequencies(rope, size).tobytes() == expected.tobytes()


def test_cosines_and_sines_are_within_an_ulp_of_those_of_transformers() -> None:
    rope = Rope(base=500000.0, kind="llama3", factor=8.0, original=128)
    module = embedding_of(rope, 64)
    cos, sin = module(torch.zeros(1, dtype=torch.float32), torch.arange(512)[None])
    for found, expected in zip(rope_tables(512, frequencies(rope, 64)), (cos, sin), strict=True):
        rows, wanted = found.floats(0, 512), expected[0, :, :32].numpy()
        assert np.all(np.abs(rows - wanted) <= np.spacing(np.maximum(np.abs(wanted), 2.0**-24)))


def test_an_attention_factor_multiplies_cosines_and_sines_once() -> None:
    inverse = frequencies(Rope(base=10000.0), 16)
    factor = 0.1 * math.log(4.0) + 1.0
    for plain, times in zip(rope_tables(9, inverse), rope_tables(9, inverse, factor), strict=True):
        expected = torch.from_numpy(plain.floats(0, 9)) * factor
        assert times.floats(0, 9).tobytes() == expected.numpy().tobytes()
