"""Every variant of gemv_s32_s8_s8 on every core returns the bits of its definition."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from tests.kernels.patterns import activations, random_bytes

from bitexport.targets import Target

ROWS = (1, 2, 5, 16, 33)
COLUMNS = (1, 7, 15, 16, 17, 31, 32, 33, 64, 100, 208, 2560)
SIZES = [*((n, k) for n in ROWS for k in COLUMNS), (2, 131056)]
PATTERNS = ("low", "high", "random")
X_PATTERNS = (*PATTERNS, "code")  # the last has no -128, the lowest that QuantizeRows makes

Check = Callable[[Target, str, str], list[list[str]]]


def test_every_variant_returns_the_definition(check: Check, target: Target, core: str) -> None:
    said = check(target, core, "gemv_s32_s8_s8")
    assert list(dict.fromkeys(isa for isa, *_ in said)) == list(target.expected_isas(core))
    found = {(isa, int(n), int(k), x, w): digest for isa, n, k, x, w, digest, _ in said}
    expected = {
        (isa, n, k, x, w): digest_of(n, k, x, w)
        for isa in target.expected_isas(core)
        for n, k in SIZES
        for x in X_PATTERNS
        for w in PATTERNS
    }
    wrong = [case for case in expected if found.get(case) != expected[case]]
    assert not wrong, f"{len(wrong)} of {len(expected)} cases differ, the first is {wrong[0]}"
    assert found.keys() == expected.keys()


def test_nothing_is_written_outside_the_output(check: Check, target: Target, core: str) -> None:
    for *case, _, damage in check(target, core, "gemv_s32_s8_s8"):
        assert damage == "0", case


def test_the_largest_k_stays_inside_s32() -> None:
    assert np.abs(exact(2, 131056, "low", "low")).max() < 2**31


@functools.cache
def digest_of(n: int, k: int, x: str, w: str) -> str:
    """Return what a program prints for the sums that NUMERICS.md defines."""
    return hashlib.sha256(exact(n, k, x, w).astype("<i4").tobytes()).hexdigest()[:32]


def exact(n: int, k: int, x: str, w: str) -> NDArray[np.int64]:
    """Return W x in integers that cannot overflow: (n,)."""
    sums: NDArray[np.int64] = weights_of(w, n, k) @ activations(x, k)
    return sums


def weights_of(pattern: str, n: int, k: int) -> NDArray[np.int64]:
    """Return W as check_gemv_s32_s8_s8.c fills it: (n, k)."""
    if pattern == "random":
        return random_bytes(2, n * k).view(np.int8).astype(np.int64).reshape(n, k)
    return np.full((n, k), -128 if pattern == "low" else 127, np.int64)
