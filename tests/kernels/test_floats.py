"""The floats of src/floats.h are the reference's floats, bit for bit, on every core."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.kernels.patterns import random_bytes

from bitexport.targets import Target
from bitexport_ref import numerics
from bitexport_ref.errors import NotFinite

Check = Callable[[Target, str, str], list[list[str]]]

BLOCK = 4096
LANES_MOST = 300
EXP_EDGES = [
    0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007FFFFF, 0x807FFFFF, 0x3F800000, 0xBF800000,
    0x42AE0000, 0xC2AE0000, 0xC2ADFFFF, 0xC2AE0001, 0x42B00000, 0x42AFFFFF, 0x42B00001, 0xC2B00000,
    0x3EB17218, 0xBEB17218, 0x3EB17219, 0xBEB17219, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000,
]  # fmt: skip


def test_every_result_is_the_references(check: Check, target: Target, core: str) -> None:
    sound, *said = check(target, core, "floats")
    assert sound == ["sound", "1", "-"], "the runtime itself says that floats are not sound here"
    assert {(what, int(block)): digest for what, block, digest in said} == expected()


def test_the_edges_of_exp_are_those_of_the_specification() -> None:
    x = np.array([-87, 88], np.float32)
    beyond = np.nextafter(x, np.array([-np.inf, np.inf], np.float32))
    assert set(np.concatenate([x, beyond]).view(np.uint32)) <= set(EXP_EDGES)
    assert list(numerics.exp(beyond)) == [0, np.inf]
    assert np.isfinite(numerics.exp(x)).all()


@pytest.mark.parametrize(("x", "overflows"), [(65519.996, False), (65520.0, True)])
def test_where_f16_ends(x: float, overflows: bool) -> None:
    value = np.array([x, -x], np.float32)
    if overflows:
        with pytest.raises(NotFinite):
            numerics.f32_to_f16(value)
    else:
        assert np.abs(numerics.f32_to_f16(value)).tolist() == [65504, 65504]


@functools.cache
def expected() -> Mapping[tuple[str, int], str]:
    """Return what every core must print."""
    results: dict[str, NDArray[np.generic]] = {
        "from_f16": numerics.f16_to_f32(halves_but_nan()),
        "to_f16": halves_of(to_f16_inputs()),
        "exp": numerics.exp(exp_inputs()),
        "subnormal_sum": sums_of_every_length(subnormals()),
        "nearest": numerics.rint(nearest_inputs()).astype("<i4"),
        **lane_results(),
    }
    return {
        (what, block): hashlib.sha256(part.tobytes()).hexdigest()[:32]
        for what, values in results.items()
        for block, part in enumerate(np.split(values, range(BLOCK, len(values), BLOCK)))
    }


def halves_but_nan() -> NDArray[np.float16]:
    """Return every f16 but the NaNs, by its bits: (63490,)."""
    bits = np.arange(0x10000, dtype=np.uint16)
    halves: NDArray[np.float16] = bits[(bits & 0x7FFF) <= 0x7C00].view(np.float16)
    return halves


def finite_halves() -> NDArray[np.float16]:
    """Return every finite f16, by its bits: (63488,)."""
    bits = np.arange(0x10000, dtype=np.uint16)
    halves: NDArray[np.float16] = bits[(bits & 0x7C00) != 0x7C00].view(np.float16)
    return halves


def to_f16_inputs() -> NDArray[np.float32]:
    """Return every f16 and the surroundings of the middle to the next, then any bits."""
    halves = finite_halves()
    x = halves.astype(np.float32)
    bits = halves.view(np.uint16)
    is_largest = (bits & 0x7FFF) == 0x7BFF
    with np.errstate(invalid="ignore", over="ignore"):
        following = (bits + np.uint16(1)).view(np.float16).astype(np.float32)
    following = np.where(is_largest, np.copysign(np.float32(65536), x), following)
    middle = ((x + following) * np.float32(0.5)).view(np.uint32)
    around = [x.view(np.uint32), middle - np.uint32(1), middle, middle + np.uint32(1)]
    near = np.stack(around, axis=1).reshape(-1)
    return np.concatenate([near, random_words(3, 16 * BLOCK)]).view(np.float32)


def halves_of(x: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return x as f16, by the reference; 0xFFFF where that is not finite."""
    result = np.full(x.shape, 0xFFFF, np.uint16)
    fits = np.abs(x) < np.float32(65520)
    result[fits] = numerics.f32_to_f16(x[fits]).view(np.uint16)
    return result


def exp_inputs() -> NDArray[np.float32]:
    """Return the edges, numbers spread evenly over ±128, and some of every magnitude."""
    edges = np.array(EXP_EDGES, np.uint32).view(np.float32)
    words = random_words(4, 10 * BLOCK)
    even = words[: 8 * BLOCK].view(np.int32).astype(np.float32) * np.float32(2.0**-24)
    return np.concatenate([edges, even, floats_of(words[8 * BLOCK :])])


def nearest_inputs() -> NDArray[np.float32]:
    """Return every half from -4096 to 4096, then numbers spread evenly over ±2^22."""
    halves = np.arange(-2 * BLOCK, 2 * BLOCK).astype(np.float32) * np.float32(0.5)
    words = random_words(6, 4 * BLOCK)
    return np.concatenate([halves, words.view(np.int32).astype(np.float32) * np.float32(2.0**-9)])


def subnormals() -> NDArray[np.float32]:
    """Return sixteen of them, large and positive, small and negative."""
    odd = np.arange(16, dtype=np.uint32) % 2 == 1
    base = np.where(odd, np.uint32(0x80000001), np.uint32(0x00400000))
    return (base + np.arange(16, dtype=np.uint32)).view(np.float32)


def lane_results() -> dict[str, NDArray[np.generic]]:
    """Return the lane sums of the first 1, 2, … 300 terms of x, of |x| and of three products."""
    words = random_words(5, 4 * LANES_MOST).reshape(LANES_MOST, 4)
    x, y = floats_of(words[:, 0]), floats_of(words[:, 1])
    bf16 = numerics.bf16_to_f32((floats_of(words[:, 2]).view(np.uint32) >> 16).astype(np.uint16))
    f16 = (words[:, 3] & np.uint32(0xBFFF)).astype(np.uint16).view(np.float16).astype(np.float32)
    return {
        "lane_sum": sums_of_every_length(x),
        "lane_sum_of_magnitudes": sums_of_every_length(np.abs(x)),
        "lane_dot": sums_of_every_length(x * y),
        "lane_dot_bf16": sums_of_every_length(x * bf16),
        "lane_dot_f16": sums_of_every_length(x * f16),
    }


def sums_of_every_length(terms: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the lane sums of the first 1, 2, … terms."""
    sums = [numerics.lane_sum(terms[:count]) for count in range(1, len(terms) + 1)]
    return np.array(sums, np.float32)


def floats_of(words: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Return next_float() of check_floats.c for each word."""
    exponent = np.uint32(96) + (words >> np.uint32(23) & np.uint32(63))
    return ((words & np.uint32(0x807FFFFF)) | exponent << np.uint32(23)).view(np.float32)


def random_words(seed: int, count: int) -> NDArray[np.uint32]:
    """Return next_word() of check_floats.c: (count,)."""
    return random_bytes(seed, 4 * count).view("<u4")
