"""Every variant of gemv_s32_s8_p2r on every core returns the bits of its definition."""

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
    """Return what bytes hold in a field: 0 to 2 hold w + 1, 3 holds w in two's complement."""
    code = (packed >> (2 * field) & 3).astype(np.int64)
    return code - 1 if field < 3 else np.where(code < 2, code, code - 4)


def trits(count: int) -> Bytes:
    """Return bytes of random trits: (count,)."""
    fields = random_bytes(2, count)[:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3
    weights = np.array([-1, 0, 1, 0])[fields]
    codes = np.where(np.arange(4) < 3, weights + 1, weights & 3) << np.array([0, 2, 4, 6])
    result: Bytes = codes.sum(axis=1).astype(np.uint8)
    return result


P2R = PackedLayout(
    tile=16,
    weight=weight,
    patterns={
        "minus": constant(0xC0),
        "plus": constant(0x6A),
        "trits": trits,
        "bytes": every_byte,
        "lowest": constant(0x80),
        "highest": constant(0x7F),
    },
)


def test_every_variant_returns_the_definition(check: Check, target: Target, core: str) -> None:
    P2R.judge(check(target, core, "gemv_s32_s8_p2r"), target.expected_isas(core))


def test_nothing_is_written_outside_the_output(check: Check, target: Target, core: str) -> None:
    for *case, _, damage in check(target, core, "gemv_s32_s8_p2r"):
        assert damage == "0", case


def test_the_patterns_hold_what_their_names_say() -> None:
    everything = P2R.weights_of("bytes", 16, 64)
    assert set(np.unique(every_byte(256))) == set(range(256))
    assert (everything.min(), everything.max()) == (-2, 2)
    assert (P2R.weights_of("minus", 32, 32) == -1).all()
    assert (P2R.weights_of("plus", 32, 32) == 1).all()
    assert set(np.unique(P2R.weights_of("trits", 32, 32))) == {-1, 0, 1}


@pytest.mark.parametrize("w", ["lowest", "highest"])
def test_the_largest_k_stays_inside_s32(w: str) -> None:
    assert np.abs(P2R.exact(16, MOST_K, 0, "low", w)).max() < 2**31
