"""What the checking programs fill their buffers with, made in Python too; and packed layouts."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]

X_PATTERNS = ("low", "high", "random")
MOST_K = 131056


def random_bytes(seed: int, count: int) -> Bytes:
    """Return the bytes of next_byte() in check.h: s = a s + c mod 2^32, all at once: (count,)."""
    powers: NDArray[np.uint32] = np.full(count, 1664525, np.uint32).cumprod(dtype=np.uint32)
    ones = np.ones(1, np.uint32)
    sums: NDArray[np.uint32] = np.concatenate([ones, powers[:-1]]).cumsum(dtype=np.uint32)
    states = powers * np.uint32(seed) + sums * np.uint32(1013904223)
    return (states >> np.uint32(24)).astype(np.uint8)


def activations(pattern: str, k: int) -> Integers:
    """Return x as check.h fills it: (k,)."""
    constants = {"low": -128, "high": 127, "code": -127}
    if pattern in constants:
        return np.full(k, constants[pattern], np.int64)
    return random_bytes(1, k).view(np.int8).astype(np.int64)


def every_byte(count: int) -> Bytes:
    """Return bytes that take every value and follow no period of a tile: (count,)."""
    at = np.arange(count)
    return (at * 167 + at // 256).astype(np.uint8)


def constant(byte: int) -> Callable[[int], Bytes]:
    """Return what makes bytes that are all the same."""
    return lambda count: np.full(count, byte, np.uint8)


@dataclasses.dataclass(frozen=True, eq=False)
class PackedLayout:
    """A packed layout of FORMAT.md, section 3.3: 16 bytes hold 4 columns of `tile` rows."""

    tile: int
    weight: Callable[[Bytes, int], Integers]  # what bytes hold in a field: that of rows 4f … 4f + 3
    patterns: Mapping[str, Callable[[int], Bytes]]  # of W, as the checking program fills it

    @property
    def sizes(self) -> list[tuple[int, int, int]]:
        """Return n, k and spare columns of every case of check_packed.h."""
        sizes = [(n, k, 0) for n in (1, 2, 3, 5) for k in (16, 32, 64, 208, 2560)]
        sizes += [(3, 144, 48), (2, 16, 1040), (1, MOST_K, 0)]
        return [(tiles * self.tile, k, spare) for tiles, k, spare in sizes]

    def unpack(self, packed: Bytes, n: int, k: int) -> Integers:
        """Return the weights that bytes hold: (n, k)."""
        fields = self.tile // 4
        tiles = packed.reshape(n // self.tile, k // 4, 4, 4)  # row tile, column tile, l, i
        weights = np.empty((n // self.tile, fields, 4, k // 4, 4), np.int64)
        for field in range(fields):
            weights[:, field] = self.weight(tiles, field).transpose(0, 2, 1, 3)
        return weights.reshape(n, k)

    def weights_of(self, pattern: str, n: int, k: int, spare: int = 0) -> Integers:
        """Return W as the checking program fills it, without its spare columns: (n, k)."""
        packed = self.patterns[pattern](4 * (k + spare) * (n // self.tile))
        return self.unpack(packed, n, k + spare)[:, :k]

    def exact(self, n: int, k: int, spare: int, x: str, w: str) -> Integers:
        """Return W x in integers that cannot overflow: (n,)."""
        sums: Integers = self.weights_of(w, n, k, spare) @ activations(x, k)
        return sums

    @functools.cached_property
    def digests(self) -> Mapping[tuple[int, int, int, str, str], str]:
        """Return what a program prints, by n, k, spare columns, x and W."""
        return {
            (*size, x, w): hashlib.sha256(sums.astype("<i4").tobytes()).hexdigest()[:32]
            for size in self.sizes
            for w in self.patterns
            for x, sums in zip(X_PATTERNS, self._sums(*size, w), strict=True)
        }

    def _sums(self, n: int, k: int, spare: int, w: str) -> Integers:
        """Return W x for every pattern of x: (3, n)."""
        x = np.stack([activations(pattern, k) for pattern in X_PATTERNS], axis=1)
        sums: Integers = (self.weights_of(w, n, k, spare) @ x).T
        return sums

    def judge(self, said: list[list[str]], isas: tuple[str, ...]) -> None:
        """Fail unless a program ran these instruction sets, each with every case and right."""
        assert list(dict.fromkeys(isa for isa, *_ in said)) == list(isas)
        found = {
            (isa, int(n), int(k), int(spare), x, w): digest
            for isa, n, k, spare, x, w, digest, _ in said
        }
        expected = {(isa, *case): digest for isa in isas for case, digest in self.digests.items()}
        wrong = [case for case in expected if found.get(case) != expected[case]]
        assert not wrong, f"{len(wrong)} of {len(expected)} cases differ, the first is {wrong[0]}"
        assert found.keys() == expected.keys()
