"""group_matmul: exact sums of groups, scaled and added one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand
from bitexport_ref.layouts import PackedMatrix
from bitexport_ref.ops.group_matmul import LAYOUTS, group_matmul, group_matmul_int16

RNG = np.random.default_rng(0)


def inputs(layout, n, k, group, *, rows_share=False, groups_share=False, dtype=np.float16):
    """Return a random weight and its scales, as stored and as one number per group and row."""
    raw = RNG.integers(0, 256, layout.packed_bytes(n, k)).astype(np.uint8)
    groups = -(-k // group)
    shape = (1 if groups_share else groups, 1 if rows_share else n)
    scale = RNG.standard_normal(shape).astype(dtype)
    return PackedMatrix(raw, layout, n=n, k=k), scale, np.broadcast_to(scale, (groups, n))


def plain_group_matmul(plain, q, w, d, scale, group):
    """Compute one row of codes, one output after the other."""
    f32 = plain.f32
    y = []
    for j, weights in enumerate(w.tolist()):
        total = 0.0
        for g in range(-(-len(q) // group)):
            columns = range(g * group, min(len(q), (g + 1) * group))
            s = sum(q[i] * weights[i] for i in columns)
            r = f32(1 / float(scale[g if len(scale) > 1 else 0]))
            total = f32(total + f32(f32(f32(s) * float(d[g][j])) * r))
        y.append(total)
    return y


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize(
    ("n", "k", "group"), [(1, 16, 16), (33, 50, 16), (9, 300, 128), (5, 7, 64)]
)
@pytest.mark.parametrize("per_group", [False, True])
def test_every_step_is_rounded_once(layout, n, k, group, per_group, plain, same_bits):
    weight, scale, d = inputs(layout, n, k, group)
    q = RNG.integers(-128, 128, (2, 3, k)).astype(np.int8)
    s = RNG.uniform(1, 90, (2, 3, -(-k // group) if per_group else 1)).astype(np.float32)
    found = group_matmul(q, weight, scale, s, group=group)
    expected = [
        [
            plain_group_matmul(plain, q[b, t].tolist(), weight[:], d, s[b, t], group)
            for t in range(3)
        ]
        for b in range(2)
    ]
    same_bits(found, expected)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("per_group", [False, True])
def test_codes_of_16_bits_are_high_and_low(layout, per_group, plain, same_bits):
    n, k, group = 9, 300, 128
    weight, scale, d = inputs(layout, n, k, group)
    codes = RNG.integers(-32512, 32513, (1, 4, k))
    high = (codes + 128) // 256
    low = codes - 256 * high
    s = RNG.uniform(1, 9000, (1, 4, 3 if per_group else 1)).astype(np.float32)
    found = group_matmul_int16(
        high.astype(np.int8), weight, scale, s, low.astype(np.int8), group=group
    )
    rows = zip(codes[0].tolist(), s[0], strict=True)
    same_bits(found[0], [plain_group_matmul(plain, q, weight[:], d, r, group) for q, r in rows])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    ("rows_share", "groups_share"), [(True, False), (False, True), (True, True)]
)
def test_scales_may_be_shared(dtype, rows_share, groups_share, plain, same_bits):
    weight, scale, d = inputs(
        LAYOUTS[0], 20, 40, 16, rows_share=rows_share, groups_share=groups_share, dtype=dtype
    )
    q = RNG.integers(-128, 128, (1, 1, 40)).astype(np.int8)
    s = np.array([[[3.0]]], np.float32)
    expected = plain_group_matmul(plain, q[0, 0].tolist(), weight[:], d, s[0, 0], 16)
    same_bits(group_matmul(q, weight, scale, s, group=16)[0, 0], expected)


@pytest.mark.parametrize("code", [-32512, 32512])
def test_the_largest_sums_are_exact(code):
    layout, k = LAYOUTS[2], 4096
    raw = np.zeros(layout.packed_bytes(8, k), np.uint8)
    raw.reshape(-1, 16)[:] = 0x80  # all weights are -8
    weight = PackedMatrix(raw, layout, n=8, k=k)
    high, low = np.full((1, k), code // 256, np.int8), np.full((1, k), code % 256, np.int8)
    one = np.ones((1, 1), np.float32)
    found = group_matmul_int16(high, weight, one, one, low, group=4096)
    assert found.tolist() == [[float(np.float32(code * -8 * k))] * 8]


def test_by_hand(same_bits):
    """Two groups of weights +1: (16 * 2) * 0.5 / 4 + (4 * -3) * 0.25 / 2."""
    weight = PackedMatrix(np.full(128, 255, np.uint8), LAYOUTS[1], n=1, k=20)
    q = np.array([[2] * 16 + [-3] * 4], np.int8)
    d = np.array([[0.5], [0.25]], np.float16)
    same_bits(group_matmul(q, weight, d, np.array([[4, 2]], np.float32), group=16), [[2.5]])


@pytest.mark.parametrize(
    ("weight_scale", "scale", "low"),
    [
        ((2, 5), (1, 1), 40),
        ((3, 4), (1, 1), 40),
        ((3,), (1, 1), 40),
        ((3, 5), (1, 2), 40),
        ((3, 5), (2, 1), 40),
        ((3, 5), (1, 1), 39),
    ],
)
def test_scales_and_codes_that_do_not_fit_are_refused(weight_scale, scale, low):
    weight, _, _ = inputs(LAYOUTS[0], 5, 40, 16)
    with pytest.raises(BadOperand, match="do not fit a weight of 5 by 40 in groups of 16"):
        group_matmul_int16(
            np.zeros((1, 40), np.int8),
            weight,
            np.ones(weight_scale, np.float16),
            np.ones(scale, np.float32),
            np.zeros((1, low), np.int8),
            group=16,
        )
