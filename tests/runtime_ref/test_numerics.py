"""numerics: sums, exp, conversions and integer products return the bits of NUMERICS.md."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from bitexport_ref import numerics
from bitexport_ref.errors import BadOperand, NotFinite

# ---- eight-lane sums -------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 15, 16, 64, 203])
def test_a_sum_has_eight_lanes_and_one_tree(n, plain, same_bits):
    values = np.random.default_rng(n).standard_normal((3, 2, n)).astype(np.float32)
    expected = [[plain.lane_sum(row.tolist()) for row in block] for block in values]
    same_bits(numerics.lane_sum(values), expected)


def test_an_empty_sum_is_plus_zero(same_bits):
    same_bits(numerics.lane_sum(np.empty((2, 0), np.float32)), [0.0, 0.0])


def test_a_sum_of_minus_zeros_is_plus_zero(same_bits):
    same_bits(numerics.lane_sum(np.full(11, -0.0, np.float32)), 0.0)


def test_a_sum_keeps_subnormals(same_bits):
    tiny = np.full(9, 1e-45, np.float32)
    same_bits(numerics.lane_sum(tiny), np.float32(9 * 2.0**-149))


def test_the_order_is_not_the_one_of_numpy():
    values = np.random.default_rng(0).standard_normal((100, 1000)).astype(np.float32)
    ours = numerics.lane_sum(values)
    assert (ours != values.sum(axis=-1)).any()
    np.testing.assert_allclose(ours, values.sum(axis=-1, dtype=np.float64), atol=1e-3)


@pytest.mark.parametrize(("past", "rows"), [(0, 1), (0, 5), (3, 4), (8, 9), (21, 1)])
def test_a_sum_over_positions_skips_what_a_row_does_not_see(past, rows, plain, same_bits):
    rng = np.random.default_rng(past)
    values = rng.standard_normal((past + rows, 2, rows)).astype(np.float32)
    found = numerics.lane_sum_positions(values, past)
    for row in range(rows):
        seen = values[: past + row + 1, :, row]
        same_bits(found[:, row], [plain.lane_sum(seen[:, i].tolist()) for i in range(2)])


@pytest.mark.parametrize("n", [1, 8, 13])
def test_a_dot_product_rounds_every_product(n, plain, same_bits):
    rng = np.random.default_rng(n)
    left = rng.standard_normal((n, 3, 1)).astype(np.float32)
    right = rng.standard_normal((n, 1, 2)).astype(np.float32)
    expected = [
        [
            plain.lane_sum(
                [plain.f32(float(left[i, a, 0]) * float(right[i, 0, b])) for i in range(n)]
            )
            for b in range(2)
        ]
        for a in range(3)
    ]
    same_bits(numerics.lane_dot(left, right), expected)


# ---- exp -------------------------------------------------------------------------------------


def test_exp_is_the_written_sequence(plain, same_bits):
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.uniform(-87, 88, 4000), rng.uniform(-1, 1, 1000), [0.0, -0.0, 1e-45, -87, 88]]
    ).astype(np.float32)
    same_bits(numerics.exp(x), [plain.exp(float(v)) for v in x])


@pytest.mark.parametrize(
    ("x", "bits"),
    [
        (0.0, 0x3F800000),
        (-0.0, 0x3F800000),
        (1.0, 0x402DF854),
        (-1.0, 0x3EBC5AB2),
        (-87.0, 0x00B33687),
        (88.0, 0x7EF882B7),
        (math.nextafter(-87.0, -math.inf), 0x00B33687),  # rounds to -87 in f32
        (-87.00001, 0x00000000),
        (88.00001, 0x7F800000),
        (-math.inf, 0x00000000),
        (math.inf, 0x7F800000),
    ],
)
def test_exp_returns_these_bits(x, bits):
    assert numerics.exp(np.array([x], np.float32)).view(np.uint32)[0] == bits


def test_exp_of_nan_is_nan():
    assert np.isnan(numerics.exp(np.array([np.nan], np.float32)))[0]


def test_exp_is_within_1_1_ulp_of_the_truth():
    x = np.linspace(-87, 88, 700_001).astype(np.float32)
    truth = np.exp(x.astype(np.float64))
    ulp = np.spacing(truth.astype(np.float32)).astype(np.float64)
    assert (np.abs(numerics.exp(x) - truth) / ulp).max() < 1.1


# ---- rounding and conversions ----------------------------------------------------------------


def test_rint_is_the_magic_number_rule():
    rng = np.random.default_rng(0)
    halves = np.arange(-1000, 1000, dtype=np.float32) / 2
    x = np.concatenate([halves, rng.uniform(-(2**22), 2**22, 10000)]).astype(np.float32)
    magic = np.float32(1.5 * 2**23)
    np.testing.assert_array_equal(numerics.rint(x), (x + magic) - magic)


def test_every_bf16_widens_exactly(plain):
    patterns = np.arange(65536, dtype=np.uint16)
    found = numerics.bf16_to_f32(patterns)
    expected = np.array([bits << 16 for bits in range(65536)], np.uint32)
    np.testing.assert_array_equal(found.view(np.uint32), expected)
    assert found[0x3F80] == plain.f32_from_bits(0x3F800000) == 1.0


def test_every_f16_widens_exactly():
    patterns = np.arange(65536, dtype=np.uint16).view(np.float16)
    found = numerics.f16_to_f32(patterns)
    expected = np.array([struct.unpack("<e", struct.pack("<H", p))[0] for p in range(65536)])
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(found[number].astype(np.float64), expected[number])
    np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(expected[number]))
    assert np.isnan(found[~number]).all()


def test_every_finite_f16_survives_the_way_there_and_back():
    bits = np.arange(65536, dtype=np.uint16)
    finite = bits[(bits & 0x7C00) != 0x7C00]
    back = numerics.f32_to_f16(numerics.f16_to_f32(finite.view(np.float16)))
    np.testing.assert_array_equal(back.view(np.uint16), finite)


def test_f16_rounds_to_nearest_even_between_all_neighbours():
    low = np.arange(0x7BFF, dtype=np.uint16)
    below = numerics.f16_to_f32(low.view(np.float16))
    above = numerics.f16_to_f32((low + np.uint16(1)).view(np.float16))
    middle = (below + above) / np.float32(2)  # exact: f32 has 13 more bits
    even = np.where(low % 2 == 0, low, low + 1).astype(np.uint16)
    cases = [
        (middle, even),
        (np.nextafter(middle, np.float32(0)), low),
        (np.nextafter(middle, np.float32(np.inf)), low + np.uint16(1)),
    ]
    for values, expected in cases:
        for sign, bit in ((np.float32(1), 0), (np.float32(-1), 0x8000)):
            found = numerics.f32_to_f16(values * sign).view(np.uint16)
            np.testing.assert_array_equal(found, expected | np.uint16(bit))


def test_f16_holds_what_rounds_to_its_largest_number():
    largest_that_fits = np.nextafter(np.float32(65520), np.float32(0))
    assert numerics.f32_to_f16(np.array([largest_that_fits]))[0] == 65504


@pytest.mark.parametrize("value", [65520.0, -65520.0, 1e30, np.inf, -np.inf, np.nan])
def test_f16_refuses_what_it_cannot_hold(value):
    with pytest.raises(NotFinite, match=r"f16 is not finite: .* at \[1\]"):
        numerics.f32_to_f16(np.array([0, value], np.float32))


# ---- groups ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "group", "count"), [(1, 16, 1), (16, 16, 1), (17, 16, 2), (131056, 4096, 32)]
)
def test_the_last_group_may_be_shorter(columns, group, count):
    assert numerics.group_count(columns, group) == count


@pytest.mark.parametrize("group", [0, 8, 24, 4112, -16])
def test_groups_of_another_size_are_refused(group):
    with pytest.raises(BadOperand, match=f"groups of {group}: not a multiple of 16"):
        numerics.group_count(64, group)


def test_rows_too_long_for_groups_are_refused():
    with pytest.raises(BadOperand, match="131057 columns"):
        numerics.group_count(131057, 16)
