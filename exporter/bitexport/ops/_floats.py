"""Float sums and exp in standard ops that leave no freedom: the bits of NUMERICS.md anywhere."""

from __future__ import annotations


def lane_sum(terms: str, size: str, result: str) -> str:
    """Return the ops that add up the last axis of `terms` in eight lanes (NUMERICS.md, rule 4).

    `size` is the length of that axis, int64 [1]; `result` keeps the axis with a length of 1.
    CumSum adds one element after the other, which a Reduce need not do.
    """
    return f"""
    ls_zero = Constant<value_ints = [0]>()
    ls_last = Constant<value_ints = [-1]>()
    ls_seven = Constant<value_ints = [7]>()
    ls_eight = Constant<value_ints = [8]>()
    ls_nothing = Constant<value_float = 0.0>()
    ls_axis = Constant<value_int = -2>()
    ls_end = Constant<value_int = -1>()
    ls_up = Add({size}, ls_seven)
    ls_steps = Div(ls_up, ls_eight)
    ls_padded = Mul(ls_steps, ls_eight)
    ls_missing = Sub(ls_padded, {size})
    ls_pads = Concat<axis = 0>(ls_zero, ls_missing)
    ls_wide = Pad({terms}, ls_pads, ls_nothing, ls_last)
    ls_leading = Shape<end = -1>({terms})
    ls_shape = Concat<axis = 0>(ls_leading, ls_steps, ls_eight)
    ls_lanes = Reshape(ls_wide, ls_shape)
    ls_running = CumSum(ls_lanes, ls_axis)
    ls_sums = Gather<axis = -2>(ls_running, ls_end)
    ls_0123, ls_4567 = Split<axis = -1, num_outputs = 2>(ls_sums)
    ls_pairs = Add(ls_0123, ls_4567)
    ls_01, ls_23 = Split<axis = -1, num_outputs = 2>(ls_pairs)
    ls_fours = Add(ls_01, ls_23)
    ls_even, ls_odd = Split<axis = -1, num_outputs = 2>(ls_fours)
    {result} = Add(ls_even, ls_odd)
    """


LEAST, MOST = -87.0, 88.0
INVERSE_LN2 = float.fromhex("0x1.715476p+0")
LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e4p-1"), float.fromhex("0x1.7f7d1cp-20")
TERMS = tuple(
    map(
        float.fromhex,
        ("0x1.6d110ap-10", "0x1.120b6ep-7", "0x1.55551ap-5", "0x1.5554dcp-3", "0x1p-1"),
    )
)
HALF_POWERS = range(-63, 65)
"""Exponents that the halves of n may be."""


def exponential(x: str, result: str) -> str:
    """Return the ops of exp (NUMERICS.md, section 2); powers of two are looked up."""
    first, *others = TERMS
    polynomial = "\n".join(
        f"""
        ex_c{at} = Constant<value_float = {term!r}>()
        ex_m{at} = Mul(ex_p{at - 1}, ex_r)
        ex_p{at} = Add(ex_m{at}, ex_c{at})
        """
        for at, term in enumerate(others, start=1)
    )
    powers = ", ".join(repr(2.0**power) for power in HALF_POWERS)
    return f"""
    ex_least = Constant<value_float = {LEAST}>()
    ex_most = Constant<value_float = {MOST}>()
    ex_inverse = Constant<value_float = {INVERSE_LN2!r}>()
    ex_high = Constant<value_float = {LN2_HIGH!r}>()
    ex_low = Constant<value_float = {LN2_LOW!r}>()
    ex_p0 = Constant<value_float = {first!r}>()
    ex_nothing = Constant<value_float = 0.0>()
    ex_one = Constant<value_float = 1.0>()
    ex_half = Constant<value_float = 0.5>()
    ex_largest = Constant<value_float = 3.4028234663852886e38>()
    ex_place = Constant<value_int = {-HALF_POWERS.start}>()
    ex_powers = Constant<value = float[{len(HALF_POWERS)}] {{{powers}}}>()
    ex_x = Clip({x}, ex_least, ex_most)
    ex_t = Mul(ex_x, ex_inverse)
    ex_n = Round(ex_t)
    ex_n_high = Mul(ex_n, ex_high)
    ex_n_low = Mul(ex_n, ex_low)
    ex_rest = Sub(ex_x, ex_n_high)
    ex_r = Sub(ex_rest, ex_n_low)
    {polynomial}
    ex_square = Mul(ex_r, ex_r)
    ex_upper = Mul(ex_square, ex_p{len(others)})
    ex_both = Add(ex_r, ex_upper)
    ex_y = Add(ex_one, ex_both)
    ex_halved = Mul(ex_n, ex_half)
    ex_a = Floor(ex_halved)
    ex_b = Sub(ex_n, ex_a)
    ex_a_wide = Cast<to = 7>(ex_a)
    ex_b_wide = Cast<to = 7>(ex_b)
    ex_a_place = Add(ex_a_wide, ex_place)
    ex_b_place = Add(ex_b_wide, ex_place)
    ex_a_power = Gather(ex_powers, ex_a_place)
    ex_b_power = Gather(ex_powers, ex_b_place)
    ex_once = Mul(ex_y, ex_a_power)
    ex_twice = Mul(ex_once, ex_b_power)
    ex_is_small = Less({x}, ex_least)
    ex_is_large = Greater({x}, ex_most)
    ex_infinite = Add(ex_largest, ex_largest)
    ex_bounded = Where(ex_is_large, ex_infinite, ex_twice)
    {result} = Where(ex_is_small, ex_nothing, ex_bounded)
    """
