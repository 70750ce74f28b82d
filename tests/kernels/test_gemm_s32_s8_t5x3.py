"""Every variant of gemm_s32_s8_t5x3 and of pack_p2r_t5x3 on every core: the definition's bits."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping

import numpy as np
from tests.kernels.patterns import Integers
from tests.kernels.test_gemm_s32_s8_p2r import columns_of_x
from tests.kernels.test_gemv_s32_s8_p2r import P2R
from tests.kernels.test_gemv_s32_s8_t5x3 import LONGEST_K, T5X3

from bitexport.targets import Target

Check = Callable[[Target, str, str], list[list[str]]]

SIZES = [
    *((n, k, 0, columns) for n in (1, 2, 3, 4, 5) for k in (32, 224) for columns in (1, 2, 5, 17)),
    *((9, 96, 0, 4), (4, 896, 0, 7), (3, 160, 64, 9), (2, 96, 32, 35), (1, LONGEST_K, 0, 4)),
    *((1, 96, 0, 0), (2, 32, 0, 0), (3, 64, 64, 0), (4, 896, 0, 0)),
]
# Rows of 48 in p2r, in fours: as they were, but for the last three.
FOURS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 9, 10]


def test_every_variant_returns_the_definition(check: Check, target: Target, core: str) -> None:
    said = check(target, core, "gemm_s32_s8_t5x3")
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
    for *case, _, damage in check(target, core, "gemm_s32_s8_t5x3"):
        assert damage == "0", case


@functools.cache
def digests() -> Mapping[tuple[int, int, int, int, str], str]:
    """Return what a program prints, by tiles, k, spare columns of W, columns and W."""
    return {
        (tiles, k, spare, columns, w): hashlib.sha256(
            sums(T5X3.weights_of(w, 12 * tiles, k, spare), columns)
        ).hexdigest()[:32]
        for tiles, k, spare, columns in SIZES
        for w in T5X3.patterns
    }


def sums(weights: Integers, columns: int) -> bytes:
    """Return the product with so many columns; with none, the weights in layout p2r."""
    if columns:
        return (columns_of_x(weights.shape[1], columns) @ weights.T).astype("<i4").tobytes()
    return packed(weights)


def packed(weights: Integers) -> bytes:
    """Return 48 rows of weights in layout p2r; the last tile of 12 stands for those that lack."""
    tiles = weights.reshape(-1, 3, 4, weights.shape[1])
    fours = tiles[[min(at, len(tiles) - 1) for at in range(4)]].reshape(12, 4, -1)[FOURS]
    rows = fours.reshape(3, 4, 4, -1, 4)  # row of tiles, field, lane, four columns
    shifts = np.array([0, 2, 4, 6]).reshape(4, 1, 1, 1)
    coded = np.concatenate([rows[:, :3] + 1, rows[:, 3:] & 3], axis=1) << shifts
    made: Integers = coded.sum(axis=1).transpose(0, 2, 1, 3)
    return made.astype(np.uint8).tobytes()


def test_packed_again_it_is_the_same_matrix() -> None:
    weights = T5X3.weights_of("random", 48, 64)
    again = P2R.unpack(np.frombuffer(packed(weights), np.uint8), 48, 64)
    fours = again.reshape(12, 4, 64)[[FOURS.index(four) for four in range(12)]]
    np.testing.assert_array_equal(fours.reshape(48, 64), weights)
