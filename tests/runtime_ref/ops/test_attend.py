"""attend: causal attention, lanes over positions, no position added that a row does not see."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand
from bitexport_ref.ops import attend as module
from bitexport_ref.ops.attend import attend

D = 10


class Case(NamedTuple):
    """How many rows attend to how many before them, and with how many heads."""

    rows: int
    past: int
    heads: int
    kv_heads: int


def plain_attend(plain, case, operands, scale):
    """Attend one row and one head after the other: (s, heads * d), (kv, p, d) twice."""
    f32 = plain.f32
    query, key, value = operands
    query = query.reshape(case.rows, case.heads, D)
    y = np.empty(query.shape, np.float32)
    for t, h in np.ndindex(case.rows, case.heads):
        seen = case.past + t + 1
        g = h * case.kv_heads // case.heads
        scores = []
        for j in range(seen):
            products = zip(query[t, h].tolist(), key[g, j].tolist(), strict=True)
            scores.append(f32(plain.lane_sum([f32(a * b) for a, b in products]) * scale))
        m = max(scores)
        e = [plain.exp(f32(score - m)) for score in scores]
        z = plain.lane_sum(e)
        for i in range(D):
            total = 0.0
            for j in range(seen):
                total = f32(total + f32(e[j] * float(value[g, j, i])))
            y[t, h, i] = f32(total / z)
    return y.reshape(case.rows, case.heads * D)


def random_inputs(case, dtype):
    """Return query, key and value of a batch of 2."""
    rng = np.random.default_rng(case.past)
    query = rng.standard_normal((2, case.rows, case.heads * D)).astype(np.float32)
    key, value = rng.standard_normal((2, 2, case.kv_heads, case.past + case.rows, D)).astype(dtype)
    return query, key, value


def run(case, operands, scale):
    return attend(*operands, heads=case.heads, kv_heads=case.kv_heads, scale=scale)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    "case",
    [Case(1, 0, 1, 1), Case(1, 20, 4, 2), Case(9, 0, 3, 1), Case(5, 7, 4, 4), Case(3, 2, 5, 2)],
)
def test_every_step_is_rounded_once(case, dtype, plain, same_bits):
    operands = random_inputs(case, dtype)
    scale = plain.f32(D**-0.5)
    found = run(case, operands, scale)
    for b in range(2):
        same_bits(found[b], plain_attend(plain, case, [each[b] for each in operands], scale))


def test_scores_far_below_the_largest_weigh_nothing(plain, same_bits):
    case = Case(4, 6, 2, 1)
    operands = random_inputs(case, np.float32)
    expected = plain_attend(plain, case, [each[0] for each in operands], 200.0)
    same_bits(run(case, operands, 200.0)[0], expected)


def test_blocks_of_rows_and_heads_change_no_bit(monkeypatch, same_bits):
    case = Case(9, 4, 4, 2)
    operands = random_inputs(case, np.float16)
    whole = run(case, operands, 0.3)
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 2)
    monkeypatch.setattr(module, "_SCORES_AT_ONCE", 1)
    same_bits(run(case, operands, 0.3), whole)


def test_a_row_does_not_depend_on_what_follows(same_bits):
    query, key, value = random_inputs(Case(6, 3, 2, 2), np.float16)
    whole = run(Case(6, 3, 2, 2), (query, key, value), 0.3)
    some = run(Case(4, 3, 2, 2), (query[:, :4], key[:, :, :7], value[:, :, :7]), 0.3)
    same_bits(some, whole[:, :4])


def test_states_that_do_not_fit_are_refused():
    operands = random_inputs(Case(1, 3, 2, 2), np.float16)
    with pytest.raises(BadOperand, match="do not fit"):
        run(Case(1, 3, 2, 1), operands, 1.0)
