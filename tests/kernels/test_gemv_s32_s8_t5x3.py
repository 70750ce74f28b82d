"""Every variant of gemv_s32_s8_t5x3 on every core returns the bits of its definition."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from tests.kernels.patterns import (
    Bytes,
    Integers,
    PackedLayout,
    constant,
    every_byte,
    random_bytes,
)

from bitexport.targets import Target

Check = Callable[[Target, str, str], list[list[str]]]

LONGEST_K = 131072


def codes(tile: Bytes) -> Integers:
    """Return the eight codes of each place in tiles: (..., 5, 16) -> (..., 8, 16)."""
    b = np.moveaxis(tile.astype(np.int64), -2, 0)
    made = [
        *(each >> 3 for each in b),
        b[0] & 7 | (b[1] >> 1 & 3) << 3,
        b[2] & 7 | (b[3] >> 1 & 3) << 3,
        b[4] & 7 | (b[1] & 1) << 3 | (b[3] & 1) << 4,
    ]
    return np.stack(made, axis=-2)


def weight(code: Bytes, field: int) -> Integers:
    """Return what codes hold in a digit; the last is 2 where a code is above 26."""
    return (code // 3**field % 3 if field < 2 else code // 9).astype(np.int64) - 1


def plus(count: int) -> Bytes:
    """Return bytes all codes of which are 26: (count,)."""
    return np.where(np.arange(count) // 16 % 5 % 2, 0xD7, 0xD2).astype(np.uint8)


@dataclasses.dataclass(frozen=True, eq=False)
class T5X3Layout(PackedLayout):
    """Layout t5x3 of FORMAT.md, section 3.3: 80 bytes hold 32 columns of 12 rows."""

    @property
    def sizes(self) -> list[tuple[int, int, int]]:
        """Return n, k and spare columns of every case of check_gemv_s32_s8_t5x3.c."""
        sizes = [(n, k, 0) for n in (1, 2, 3, 4, 5, 9) for k in (32, 64, 224, 896)]
        sizes += [(3, 160, 64), (2, 2560, 0), (1, LONGEST_K, 0)]
        return [(tiles * self.tile, k, spare) for tiles, k, spare in sizes]

    def unpack(self, packed: Bytes, n: int, k: int) -> Integers:
        """Return the weights that bytes hold: (n, k)."""
        places = codes(packed.reshape(n // 12, k // 32, 5, 16))
        by_group = places.reshape(n // 12, k // 32, 8, 4, 4).astype(np.uint8)  # …, lane, column
        digits = np.stack([self.weight(by_group, field) for field in range(3)], axis=1)
        return digits.transpose(0, 1, 4, 2, 3, 5).reshape(n, k)

    def weights_of(self, pattern: str, n: int, k: int, spare: int = 0) -> Integers:
        """Return W as the checking program fills it, without its spare columns: (n, k)."""
        packed = self.patterns[pattern]((k + spare) // 32 * 80 * (n // self.tile))
        return self.unpack(packed, n, k + spare)[:, :k]


T5X3 = T5X3Layout(
    tile=12,
    weight=weight,
    patterns={
        "minus": constant(0x00),
        "plus": plus,
        "random": lambda count: random_bytes(2, count),
        "bytes": every_byte,
        "highest": constant(0xFF),
    },
)


def test_every_variant_returns_the_definition(check: Check, target: Target, core: str) -> None:
    T5X3.judge(check(target, core, "gemv_s32_s8_t5x3"), target.expected_isas(core))


def test_nothing_is_written_outside_the_output(check: Check, target: Target, core: str) -> None:
    for *case, _, damage in check(target, core, "gemv_s32_s8_t5x3"):
        assert damage == "0", case


def test_the_patterns_hold_what_their_names_say() -> None:
    assert (T5X3.weights_of("minus", 24, 64) == -1).all()
    assert (T5X3.weights_of("plus", 24, 64) == 1).all()
    assert set(np.unique(codes(every_byte(80 * 256).reshape(-1, 5, 16)))) == set(range(32))
    highest = T5X3.weights_of("highest", 12, 32)
    assert (highest[:8] == 0).all()
    assert (highest[8:] == 2).all()


def test_a_code_is_the_rows_and_column_that_the_format_says() -> None:
    packed = np.zeros(2 * 2 * 80, np.uint8)
    packed[2 * 80 + 80 + 16 * 3 + 4 * 2 + 1] = 26 << 3  # second row of tiles, columns 32 to 63
    rows, columns = np.nonzero(T5X3.unpack(packed, 24, 64) == 1)
    assert rows.tolist() == [12 + 2, 12 + 4 + 2, 12 + 8 + 2]
    assert set(columns) == {32 + 4 * 3 + 1}


@pytest.mark.parametrize("w", ["minus", "plus", "highest"])
def test_the_largest_k_stays_inside_s32(w: str) -> None:
    weights = T5X3.weights_of(w, 12, LONGEST_K)
    code = (weights * np.repeat([1, 3, 9], 4)[:, None]).reshape(3, 4, -1).sum(axis=0) + 13
    assert 128 * code.sum(axis=1).max() < 2**31
    assert 9 * 128 * np.abs(weights).sum(axis=1).max() < 2**31
