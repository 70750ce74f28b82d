"""Every variant of gemv_s32_s8_p2r on every core returns the bits of its definition."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from bitexport.targets import Target

ROWS, COLUMNS = (16, 32, 48, 80), (16, 32, 64, 208, 2560)
SIZES = [*((n, k) for n in ROWS for k in COLUMNS), (16, 131056)]
X_PATTERNS = ("low", "high", "random")
W_PATTERNS = ("minus", "plus", "trits", "bytes", "lowest", "highest")

Check = Callable[[Target, str, str], list[list[str]]]


def test_every_variant_returns_the_definition(check: Check, target: Target, core: str) -> None:
    said = check(target, core, "gemv_s32_s8_p2r")
    assert list(dict.fromkeys(isa for isa, *_ in said)) == list(target.expected_isas(core))
    found = {(isa, int(n), int(k), x, w): digest for isa, n, k, x, w, digest, _ in said}
    expected = {
        (isa, n, k, x, w): digest_of(n, k, x, w)
        for isa in target.expected_isas(core)
        for n, k in SIZES
        for x in X_PATTERNS
        for w in W_PATTERNS
    }
    wrong = [case for case in expected if found.get(case) != expected[case]]
    assert not wrong, f"{len(wrong)} of {len(expected)} cases differ, the first is {wrong[0]}"
    assert found.keys() == expected.keys()


def test_nothing_is_written_outside_the_output(check: Check, target: Target, core: str) -> None:
    for *case, _, damage in check(target, core, "gemv_s32_s8_p2r"):
        assert damage == "0", case


def test_the_patterns_hold_what_their_names_say() -> None:
    everything = weights_of("bytes", 16, 64)
    assert set(np.unique(packed("bytes", 256))) == set(range(256))
    assert (everything.min(), everything.max()) == (-2, 2)
    assert (weights_of("minus", 32, 32) == -1).all()
    assert (weights_of("plus", 32, 32) == 1).all()
    assert set(np.unique(weights_of("trits", 32, 32))) == {-1, 0, 1}


@pytest.mark.parametrize("w", ["lowest", "highest"])
def test_the_largest_k_stays_inside_s32(w: str) -> None:
    sums = exact(16, 131056, "low", w)
    assert np.abs(sums).max() < 2**31


@functools.cache
def digest_of(n: int, k: int, x: str, w: str) -> str:
    """Return what a program prints for the sums that FORMAT.md and NUMERICS.md define."""
    return hashlib.sha256(exact(n, k, x, w).astype("<i4").tobytes()).hexdigest()[:32]


def exact(n: int, k: int, x: str, w: str) -> NDArray[np.int64]:
    """Return W x in integers that cannot overflow: (n,)."""
    sums: NDArray[np.int64] = weights_of(w, n, k) @ activations(x, k)
    return sums


def activations(pattern: str, k: int) -> NDArray[np.int64]:
    """Return x as check.h fills it: (k,)."""
    constants = {"low": -128, "high": 127}
    if pattern in constants:
        return np.full(k, constants[pattern], np.int64)
    return random_bytes(1, k).view(np.int8).astype(np.int64)


def weights_of(pattern: str, n: int, k: int) -> NDArray[np.int64]:
    """Unpack a layout p2r as FORMAT.md, section 3.3, describes it: (n, k)."""
    tiles = packed(pattern, n * k // 4).reshape(
        n // 16, k // 4, 4, 4
    )  # row tile, column tile, l, i
    weights = np.empty((n // 16, 4, 4, k // 4, 4), np.int64)  # row tile, f, l, column tile, i
    for field in range(4):
        code = (tiles >> (2 * field) & 3).astype(np.int64)
        weight = code - 1 if field < 3 else np.where(code < 2, code, code - 4)
        weights[:, field] = weight.transpose(0, 2, 1, 3)
    return weights.reshape(n, k)


def packed(pattern: str, count: int) -> NDArray[np.uint8]:
    """Return the bytes of W as check_gemv_s32_s8_p2r.c fills them: (count,)."""
    constants = {"minus": 0xC0, "plus": 0x6A, "lowest": 0x80, "highest": 0x7F}
    if pattern in constants:
        return np.full(count, constants[pattern], np.uint8)
    at = np.arange(count)
    if pattern == "bytes":
        return (at * 167 + at // 256).astype(np.uint8)
    fields = random_bytes(2, count)[:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3
    weights = np.array([-1, 0, 1, 0])[fields]
    codes = np.where(np.arange(4) < 3, weights + 1, weights & 3) << np.array([0, 2, 4, 6])
    result: NDArray[np.uint8] = codes.sum(axis=1).astype(np.uint8)
    return result


def random_bytes(seed: int, count: int) -> NDArray[np.uint8]:
    """Return the bytes of next_byte() in check.h: s = a s + c mod 2^32, all at once: (count,)."""
    powers: NDArray[np.uint32] = np.full(count, 1664525, np.uint32).cumprod(dtype=np.uint32)
    ones = np.ones(1, np.uint32)
    sums: NDArray[np.uint32] = np.concatenate([ones, powers[:-1]]).cumsum(dtype=np.uint32)
    states = powers * np.uint32(seed) + sums * np.uint32(1013904223)
    return (states >> np.uint32(24)).astype(np.uint8)
