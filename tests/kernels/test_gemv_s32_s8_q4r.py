"""Every variant of gemv_s32_s8_q4r on every core returns the bits of its definition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.kernels.patterns import (
    MOST_K,
    Bytes,
    Integers,
    PackedLayout,
    constant,
    every_byte,
    random_bytes,
)

from bitexport.targets import Target

Check = Callable[[Target, str, str], list[list[str]]]


def weight(packed: Bytes, field: int) -> Integers:
    """Return what bytes hold in a field: 0 holds w + 8, 1 holds w in two's complement."""
    code = (packed >> (4 * field) & 15).astype(np.int64)
    return code - 8 if field == 0 else np.where(code < 8, code, code - 16)


Q4R = PackedLayout(
    tile=8,
    weight=weight,
    patterns={
        "lowest": constant(0x80),
        "highest": constant(0x7F),
        "random": lambda count: random_bytes(2, count),
        "bytes": every_byte,
    },
)


def test_every_variant_returns_the_definition(check: Check, target: Target, core: str) -> None:
    Q4R.judge(check(target, core, "gemv_s32_s8_q4r"), target.expected_isas(core))


def test_nothing_is_written_outside_the_output(check: Check, target: Target, core: str) -> None:
    for *case, _, damage in check(target, core, "gemv_s32_s8_q4r"):
        assert damage == "0", case


def test_the_patterns_hold_what_their_names_say() -> None:
    assert (Q4R.weights_of("lowest", 8, 32) == -8).all()
    assert (Q4R.weights_of("highest", 8, 32) == 7).all()
    assert set(np.unique(Q4R.weights_of("bytes", 8, 128))) == set(range(-8, 8))


def test_a_byte_read_as_signed_is_what_the_format_says() -> None:
    packed = every_byte(4 * 64)
    weights = Q4R.unpack(packed, 8, 64)
    signed = packed.view(np.int8).astype(np.int64)
    byte_at = (weights[4:] * 16 + weights[:4] + 8).reshape(4, 16, 4).transpose(1, 0, 2)
    assert (byte_at.reshape(-1) == signed).all()


@pytest.mark.parametrize("w", ["lowest", "highest"])
def test_the_largest_k_stays_inside_s32(w: str) -> None:
    sums = Q4R.exact(8, MOST_K, 0, "low", w)
    assert np.abs(sums * 16).max() < 2**31, "the whole byte holds sixteen times a weight"
