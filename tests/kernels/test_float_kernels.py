"""Every variant of the float kernels on every core returns the reference's bits."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from tests.kernels.patterns import random_bytes

from bitexport.targets import Target
from bitexport_ref import numerics

Check = Callable[[Target, str, str], list[list[str]]]
Case = tuple[str, int, int, str]
F32 = NDArray[np.float32]
U32 = NDArray[np.uint32]

ROWS = (1, 3, 4, 5, 9)
COLUMNS = (1, 7, 8, 9, 31, 32, 33, 100, 300)
PATTERNS = ("plain", "tiny", "zero", "huge", "infinite")
LENGTHS = (1, 2, 7, 8, 9, 16, 17, 31, 300)
SCORE_PATTERNS = ("plain", "tiny", "zero", "near", "infinite")
SCALE = np.float32(float.fromhex("0x1.6a09e6p-4"))
INFINITY = np.uint32(0x7F800000)
SIGN = np.uint32(0x80000000)


def test_every_variant_returns_the_reference(check: Check, target: Target, core: str) -> None:
    said = check(target, core, "float_kernels")
    assert list(dict.fromkeys(isa for isa, *_ in said)) == list(target.expected_isas(core))
    found = {(isa, (name, int(n), int(k), p)): digest for isa, name, n, k, p, digest, _ in said}
    wanted = {
        (isa, case): digest
        for isa in target.expected_isas(core)
        for case, digest in expected().items()
    }
    wrong = [case for case in wanted if found.get(case) != wanted[case]]
    assert not wrong, f"{len(wrong)} of {len(wanted)} cases differ, the first is {wrong[0]}"
    assert found.keys() == wanted.keys()


def test_nothing_is_written_outside_the_output(check: Check, target: Target, core: str) -> None:
    for *case, _, damage in check(target, core, "float_kernels"):
        assert damage == "0", case


def test_the_patterns_hold_what_they_are_named_for() -> None:
    words = random_words(7, 400)
    tiny = floats_of(words, "tiny")
    assert (np.abs(tiny) < np.finfo(np.float32).tiny).any()
    assert set(floats_of(words, "zero").view(np.uint32).tolist()) == {0, int(SIGN)}
    assert np.isinf(floats_of(words, "infinite")).any()
    assert (np.abs(floats_of(words, "huge")) > np.float32(2.0**124)).all()


@functools.cache
def expected() -> Mapping[Case, str]:
    """Return what every instruction set must print for each case."""
    digests: dict[Case, str] = {}
    for pattern in PATTERNS:
        for n in ROWS:
            for k in COLUMNS:
                for name, y in products(n, k, pattern).items():
                    digests[name, n, k, pattern] = digest_of(y)
    for pattern in SCORE_PATTERNS:
        for n in LENGTHS:
            digests["softmax_f32_f32", n, 0, pattern] = digest_of(softmax(n, pattern))
    return digests


def products(n: int, k: int, pattern: str) -> dict[str, F32]:
    """Return the products of check_products() in check_float_kernels.c."""
    results = {}
    for kind in ("f32", "f16", "bf16", "s8"):
        x, w = operands(n, k, k, kind, pattern)
        with np.errstate(over="ignore", invalid="ignore"):
            sums = [numerics.lane_sum(x * row) for row in w]
        results[f"gemv_f32_f32_{kind}"] = np.array(sums, np.float32)
    for kind in ("f32", "f16", "s8"):
        x, w = operands(n, k, n, kind, pattern)
        y = np.zeros(k, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for factor, row in zip(x, w, strict=True):
                y = y + factor * row
        results[f"gevm_f32_f32_{kind}"] = y
    return results


def operands(n: int, k: int, of_x: int, kind: str, pattern: str) -> tuple[F32, F32]:
    """Return x and W as prepare() in check_float_kernels.c fills them: (of_x,), (n, k)."""
    words = random_words(7, of_x + n * k)
    x = floats_of(words[:of_x], "huge" if pattern == "huge" else "plain")
    if kind == "f16":
        w = halves_of(words[of_x:], pattern).astype(np.float32)
    elif kind == "s8":
        w = codes_of(words[of_x:], pattern).astype(np.float32)
    else:
        w = floats_of(words[of_x:], pattern)
    if kind == "bf16":
        w = numerics.bf16_to_f32((w.view(np.uint32) >> np.uint32(16)).astype(np.uint16))
    return x, w.reshape(n, k)


def softmax(n: int, pattern: str) -> F32:
    """Return e and then z of check_softmax() in check_float_kernels.c: (n + 1,)."""
    scores = floats_of(random_words(8, n), pattern)
    scores[scores == np.inf] = -np.inf
    scaled = scores * SCALE
    e = numerics.exp(scaled - scaled.max())
    return np.append(e, np.float32(numerics.lane_sum(e)))


def floats_of(words: U32, pattern: str) -> F32:
    """Return float_bits() of check_float_kernels.c for each word, as floats."""
    if pattern == "near":
        return words.view(np.int32).astype(np.float32) * np.float32(2.0**-24)
    exponent = np.uint32(96) + (words >> np.uint32(23) & np.uint32(63))
    plain = (words & np.uint32(0x807FFFFF)) | exponent << np.uint32(23)
    bits = {
        "plain": plain,
        "tiny": words & np.uint32(0x80FFFFFF),
        "zero": words & SIGN,
        "huge": (words & np.uint32(0x80FFFFFF)) | np.uint32(0x7E000000),
        "infinite": np.where(are_infinite(words.size), (words & SIGN) | INFINITY, plain),
    }
    return bits[pattern].view(np.float32)


def halves_of(words: U32, pattern: str) -> NDArray[np.float16]:
    """Return half_bits() of check_float_kernels.c for each word, as halves."""
    low = words.astype(np.uint16)
    plain = low & np.uint16(0xBFFF)
    bits = {
        "plain": plain,
        "tiny": low & np.uint16(0x83FF),
        "zero": low & np.uint16(0x8000),
        "huge": (low & np.uint16(0x83FF)) | np.uint16(0x7800),
        "infinite": np.where(
            are_infinite(words.size), (low & np.uint16(0x8000)) | np.uint16(0x7C00), plain
        ),
    }
    return bits[pattern].view(np.float16)


def codes_of(words: U32, pattern: str) -> NDArray[np.int8]:
    """Return code() of check_float_kernels.c for each word."""
    bits = {
        "tiny": (words % np.uint32(3)).astype(np.int8) - np.int8(1),
        "zero": np.zeros(words.size, np.int8),
        "huge": np.where(words & np.uint32(1), 127, -128).astype(np.int8),
    }
    return bits.get(pattern, words.astype(np.uint8).view(np.int8))


def are_infinite(count: int) -> NDArray[np.bool_]:
    """Return which of the numbers with pattern "infinite" are."""
    return np.arange(count) % 37 == 5


def digest_of(y: F32) -> str:
    """Return what a program prints for y: all NaN count as one."""
    bits = np.where(np.isnan(y), np.uint32(0xFFFFFFFF), y.view(np.uint32))
    return hashlib.sha256(bits.astype("<u4").tobytes()).hexdigest()[:32]


def random_words(seed: int, count: int) -> U32:
    """Return next_word() of check_float_kernels.c: (count,)."""
    return random_bytes(seed, 4 * count).view("<u4")
