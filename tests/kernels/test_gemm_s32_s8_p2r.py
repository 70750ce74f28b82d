"""Every variant of gemm_s32_s8_p2r on every core returns the bits of its definition."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping

import numpy as np
from tests.kernels.patterns import MOST_K, Integers, activations, random_bytes
from tests.kernels.test_gemv_s32_s8_p2r import P2R

from bitexport.targets import Target

Check = Callable[[Target, str, str], list[list[str]]]

COLUMNS = (1, 2, 3, 4, 5, 7, 8, 17)
SIZES = [
    *((n, k, 0, columns) for n in (1, 2, 3, 5) for k in (16, 32, 208) for columns in COLUMNS),
    *((2, 2560, 0, 6), (3, 144, 48, 9), (1, 1040, 16, 8), (1, MOST_K, 0, 4)),
]


def test_every_variant_returns_the_definition(check: Check, target: Target, core: str) -> None:
    said = check(target, core, "gemm_s32_s8_p2r")
    assert list(dict.fromkeys(isa for isa, *_ in said)) == list(target.expected_isas(core))
    found = {(isa, *map(int, size), w): digest for isa, *size, w, digest, _ in said}
    expected = {
        (isa, *case): digest
        for isa in target.expected_isas(core)
        for case, digest in digests().items()
    }
    wrong = [case for case in expected if found.get(case) != expected[case]]
    assert not wrong, f"{len(wrong)} of {len(expected)} cases differ, the first is {wrong[0]}"
    assert found.keys() == expected.keys()


def test_nothing_is_written_outside_the_output(check: Check, target: Target, core: str) -> None:
    for *case, _, damage in check(target, core, "gemm_s32_s8_p2r"):
        assert damage == "0", case


@functools.cache
def digests() -> Mapping[tuple[int, int, int, int, str], str]:
    """Return what a program prints, by tiles, k, spare columns of W, columns and W."""
    return {
        (tiles, k, spare, columns, w): hashlib.sha256(
            (columns_of_x(k, columns) @ P2R.weights_of(w, 16 * tiles, k, spare).T).astype("<i4")
        ).hexdigest()[:32]
        for tiles, k, spare, columns in SIZES
        for w in P2R.patterns
    }


def columns_of_x(k: int, columns: int) -> Integers:
    """Return X as the checking program fills it: (columns, k)."""
    return np.stack(
        [
            random_bytes(t, k).view(np.int8).astype(np.int64)
            if t % 3 == 2
            else activations(("low", "high")[t % 3], k)
            for t in range(columns)
        ]
    )
