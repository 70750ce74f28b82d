"""What check_looked_up.h computes, in integers that cannot overflow."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping

import numpy as np
from tests.kernels.patterns import MOST_K, X_PATTERNS, Bytes, Integers, activations

SIZES = [
    (1, 1, 1), (16, 24, 1), (33, 25, 2), (48, 47, 1), (64, 384, 8), (70, 385, 9), (200, 769, 1),
    (136, 800, 3), (80, 2560, 1), (24, 250, 17), (16, MOST_K, 1),
]  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class LookedUpLayout:
    """A layout of FORMAT.md, section 3.3, whose kernels look sums up."""

    rows: int
    """Of a tile; those of these rows take `block_bytes` for each `block` columns."""
    block: int
    block_bytes: int
    unpack: Callable[[Bytes], Integers]
    """Bytes (bands, blocks, block_bytes) -> weights (bands, rows, padded columns)."""
    patterns: Mapping[str, Callable[[int], Bytes]]

    def weights_of(self, pattern: str, n: int, k: int) -> Integers:
        """Return W as the checking program fills it: (n, k)."""
        bands, blocks = -(-n // self.rows), -(-k // self.block)
        packed = self.patterns[pattern](bands * blocks * self.block_bytes)
        weights = self.unpack(packed.reshape(bands, blocks, self.block_bytes))
        return weights.reshape(-1, blocks * self.block)[:n, :k]

    @functools.cached_property
    def digests(self) -> Mapping[tuple[int, int, int, str, str], str]:
        """Return what a program prints, by n, k, rows of x, x and W."""
        found = {}
        for n, k, rows in SIZES:
            for w in self.patterns:
                weights = self.weights_of(w, n, k)
                sums = [(weights @ activations(x, k)).astype("<i4").tobytes() for x in X_PATTERNS]
                for first, x in enumerate(X_PATTERNS):
                    by_row = b"".join(sums[(first + t) % len(sums)] for t in range(rows))
                    found[n, k, rows, x, w] = hashlib.sha256(by_row).hexdigest()[:32]
        return found

    def judge(self, said: list[list[str]], isas: tuple[str, ...]) -> None:
        """Fail unless a program ran these instruction sets, each with every case and right."""
        assert list(dict.fromkeys(isa for isa, *_ in said)) == list(isas)
        found = {
            (isa, int(n), int(k), int(rows), x, w): digest
            for isa, n, k, rows, x, w, digest, _ in said
        }
        expected = {(isa, *case): digest for isa in isas for case, digest in self.digests.items()}
        wrong = [case for case in expected if found.get(case) != expected[case]]
        assert not wrong, f"{len(wrong)} of {len(expected)} cases differ, the first is {wrong[0]}"
        assert found.keys() == expected.keys()


def in_turn(values: tuple[int, ...], run: int) -> Callable[[int], Bytes]:
    """Return what makes bytes: `run` of the first value, `run` of the next, and again."""
    return lambda count: np.resize(np.repeat(np.array(values, np.uint8), run), count)
