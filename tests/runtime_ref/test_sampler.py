"""Each step of NUMERICS.md, section 8: by hand, and against a second plain reading of it."""

from __future__ import annotations

import math
import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand, NotFinite, NoToken, TokenOutside
from bitexport_ref.sampler import ALL, Sampler, drafted, kept_by_shift, philox4x32, uniform

INF = math.inf


def logits(*numbers: float) -> Any:
    return np.asarray(numbers, np.float32)


# ---- Philox ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "result"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2,
         (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
         (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ],
    ids=["zeros", "ones", "pi"],
)  # fmt: skip
def test_philox_returns_the_known_answers_of_random123(
    counter: tuple[int, int, int, int], key: tuple[int, int], result: tuple[int, ...]
) -> None:
    assert philox4x32(counter, key) == result


def test_u_is_the_upper_24_bits_of_the_first_word() -> None:
    assert uniform(0, 0) == np.float32(0x6627E8) * np.float32(2.0**-24)
    word = philox4x32((7, 0, 0, 0), (5, 3))[0]
    assert uniform((3 << 32) + 5, 7) == np.float32((word >> 8) / 2**24)
    numbers = [float(uniform(1, n)) for n in range(2000)]
    assert 0 <= min(numbers) < 0.01
    assert 0.99 < max(numbers) < 1
    assert abs(sum(numbers) / 2000 - 0.5) < 0.02


# ---- Steps 1 to 4, by hand -------------------------------------------------------------------


def test_greedy_takes_the_largest_and_of_equal_ones_the_lowest_id() -> None:
    assert Sampler().choose(logits(1, 3, 2, 3), []) == 1
    assert Sampler().choose(logits(-0.0, 0.0), []) == 0
    assert Sampler(top_k=1, top_p=0.1, min_p=1.0).choose(logits(1, 3, 2, 3), []) == 1


def test_repetition_divides_what_is_above_zero_and_multiplies_the_rest() -> None:
    sampler = Sampler(repetition=2.0)
    assert sampler.choose(logits(3, 2), [0]) == 1  # 1.5 and 2
    assert sampler.choose(logits(3, 1), [0, 0]) == 0  # once, however often it was said
    assert sampler.choose(logits(-1, -1.5), [0]) == 1  # -2
    assert sampler.choose(logits(-3, -2), [1]) == 0  # -4


def test_frequency_counts_and_presence_does_not() -> None:
    row = logits(3, 2)
    assert Sampler(frequency=0.4).choose(row, [0, 0]) == 0  # 2.2
    assert Sampler(frequency=0.4).choose(row, [0, 0, 0]) == 1  # 1.8
    assert Sampler(presence=0.9).choose(row, [0, 0, 0]) == 0
    assert Sampler(presence=1.1).choose(row, [0]) == 1
    assert Sampler(presence=-1.1).choose(row, [1]) == 1
    assert (
        Sampler(repetition=2.0, frequency=1.0).choose(row, [0]) == 1
    )  # 3 / 2 - 1, not (3 - 1) / 2


def test_penalties_look_at_the_window() -> None:
    row = logits(3, 2, 0)
    for window, chosen in ((ALL, 1), (3, 1), (2, 0), (0, 0)):
        assert Sampler(presence=1.1, window=window).choose(row, [0, 2, 2]) == chosen


def test_a_bias_is_added_behind_the_penalties() -> None:
    row = logits(4, 1)
    assert Sampler(bias={1: 3.5}).choose(row, []) == 1
    assert Sampler(bias={1: 1.5}, repetition=2.0).choose(row, [0, 1]) == 0  # 2 and 0.5 + 1.5: a tie
    assert Sampler(bias={0: -INF}).choose(row, []) == 1


def test_a_mask_leaves_candidates_out_and_is_told_the_whole_history() -> None:
    told: list[Sequence[int]] = []

    def mask(history: Sequence[int]) -> Any:
        told.append(list(history))
        return np.array([False, True, True])

    assert Sampler(mask=mask, window=1).choose(logits(9, 1, 2), [0, 1]) == 2
    assert told == [[0, 1]]


def test_no_candidate_is_an_error() -> None:
    with pytest.raises(NoToken):
        Sampler(mask=lambda _: np.zeros(2, bool)).choose(logits(1, 2), [])
    with pytest.raises(NoToken):
        Sampler(bias={0: -INF, 1: -INF}).choose(logits(1, 2), [])
    with pytest.raises(NoToken):
        Sampler(temperature=1.0).choose(logits(-INF, -INF), [])


@pytest.mark.parametrize("bad", [math.nan, INF])
def test_a_nan_or_infinity_is_an_error_even_where_it_is_masked(bad: float) -> None:
    for sampler in (Sampler(), Sampler(temperature=1.0, mask=lambda _: np.array([True, False]))):
        with pytest.raises(NotFinite):
            sampler.choose(logits(1, bad), [])
    with pytest.raises(NotFinite):
        Sampler(bias={1: -INF}).choose(logits(1, INF), [])
    with pytest.raises(NotFinite):  # what overflows on the way
        Sampler(repetition=0.5).choose(logits(3e38, 1), [0])


def test_a_quotient_that_is_infinite_is_an_error() -> None:
    with pytest.raises(NotFinite):
        Sampler(temperature=1e-3).choose(logits(1e36, 1), [])


def test_tokens_outside_the_vocabulary_are_an_error() -> None:
    with pytest.raises(TokenOutside):
        Sampler(bias={2: 1.0}).choose(logits(1, 2), [])
    with pytest.raises(TokenOutside):
        Sampler(presence=1.0).choose(logits(1, 2), [2])


@pytest.mark.parametrize(
    "field",
    [
        {"temperature": math.nan}, {"temperature": -1.0}, {"temperature": INF}, {"top_k": 0},
        {"top_k": 1 << 32}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_p": math.nan}, {"min_p": -0.1},
        {"min_p": 1.1}, {"min_p": math.nan}, {"repetition": 0.0}, {"repetition": INF},
        {"repetition": math.nan}, {"presence": math.nan}, {"presence": INF},
        {"frequency": -INF}, {"seed": -1}, {"seed": 1 << 64}, {"window": -1},
        {"bias": {0: INF}}, {"bias": {0: math.nan}},
    ],
    ids=str,
)  # fmt: skip
def test_numbers_that_mean_nothing_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(BadOperand, match="not allowed"):
        Sampler(**field)


# ---- Steps 5 to 10, by a second reading ------------------------------------------------------


def plainly_drawn(plain: types.SimpleNamespace, sampler: Sampler, row: Any, position: int) -> int:
    """Do steps 5 to 10 with Python's floats, rounded after every operation."""
    f32 = plain.f32
    scaled = {
        i: f32(float(logit) / f32(sampler.temperature))
        for i, logit in enumerate(row)
        if logit > -INF
    }
    order = sorted(scaled, key=lambda i: (-scaled[i], i))[: sampler.top_k]
    e = {i: plain.exp(f32(scaled[i] - scaled[order[0]])) for i in order}
    terms = [e.get(i, 0.0) for i in range(len(row))]
    total = plain.lane_sum(terms)
    p = [f32(e[i] / total) for i in order]
    kept, sums = 0, [0.0]
    for each in p:
        if sampler.min_p > 0 and not each >= f32(f32(sampler.min_p) * p[0]):
            break
        sums.append(f32(sums[-1] + each))
        kept += 1
        if sampler.top_p < 1 and sums[-1] >= f32(sampler.top_p):
            break
    whole = sampler.top_p == 1 and sampler.min_p == 0
    threshold = f32(float(uniform(sampler.seed, position)) * (1.0 if whole else sums[-1]))
    return next((order[j] for j in range(kept) if sums[j + 1] > threshold), order[kept - 1])


def test_a_draw_is_that_of_a_second_plain_reading(plain: types.SimpleNamespace) -> None:
    rng = np.random.default_rng(11)
    seen = set()
    for case in range(600):
        size = int(rng.integers(1, 60))
        row = (rng.standard_normal(size) * rng.choice([0.1, 1, 8])).astype(np.float32)
        if case % 3 == 0:
            row = np.round(row)
        if case % 5 == 0:
            row[1:][rng.random(size - 1) < 0.4] = -np.inf
        sampler = Sampler(
            temperature=float(np.float32(rng.choice([0.2, 1, 2.5]))),
            top_k=int(rng.choice([1, 2, 7, ALL])),
            top_p=float(np.float32(rng.choice([1, 0.95, 0.5, 0.01]))),
            min_p=float(np.float32(rng.choice([0, 0.02, 0.3, 1]))),
            seed=int(rng.integers(0, 1 << 62)),
        )
        history = [0] * int(rng.integers(0, 9))
        expected = plainly_drawn(plain, sampler, row, len(history))
        assert sampler.choose(row, history) == expected, (case, sampler)
        seen.add(expected)
    assert len(seen) > 20


def test_top_k_keeps_the_lowest_ids_of_equal_ones() -> None:
    row = np.zeros(40, np.float32)
    row[30] = 1
    chosen = {Sampler(temperature=1.0, top_k=3, seed=s).choose(row, []) for s in range(200)}
    assert chosen == {30, 0, 1}


def test_top_p_keeps_the_candidate_that_reaches_it() -> None:
    row = np.log(np.array([0.5, 0.25, 0.125, 0.125], np.float32))
    for top_p, kept in ((0.49, {0}), (0.51, {0, 1}), (0.76, {0, 1, 2}), (1.0, {0, 1, 2, 3})):
        sampled = {
            Sampler(temperature=1.0, top_p=top_p, seed=s).choose(row, []) for s in range(300)
        }
        assert sampled == kept


def test_min_p_is_relative_to_the_likeliest() -> None:
    row = np.log(np.array([0.5, 0.25, 0.125, 0.125], np.float32))
    for min_p, kept in ((1.0, {0}), (0.49, {0, 1}), (0.24, {0, 1, 2, 3})):
        sampled = {
            Sampler(temperature=1.0, min_p=min_p, seed=s).choose(row, []) for s in range(300)
        }
        assert sampled == kept


def test_draws_have_the_probabilities_that_the_logits_say() -> None:
    row = np.log(np.array([0.6, 0.3, 0.1], np.float32))
    sampler = Sampler(temperature=1.0, seed=5)
    chosen = [sampler.choose(row, [0] * n) for n in range(3000)]
    for token, probability in enumerate((0.6, 0.3, 0.1)):
        assert abs(chosen.count(token) / 3000 - probability) < 0.03


def test_a_draw_belongs_to_the_position_and_not_to_the_past() -> None:
    sampler, row = Sampler(temperature=1.0, seed=9), np.zeros(500, np.float32)
    by_position = [sampler.choose(row, [1] * n) for n in range(50)]
    assert [sampler.choose(row, list(range(n))) for n in range(50)] == by_position
    assert len(set(by_position)) > 40


# ---- Drafts and shifts -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "most", "expected"),
    [
        ([], 8, []),
        ([1], 8, []),
        ([1, 2], 8, []),
        ([1, 1], 8, [1]),
        ([1, 2, 3, 4, 1, 2, 3], 8, [4, 1, 2, 3]),  # three tokens back; fewer at the end
        ([1, 2, 3, 4, 1, 2, 3], 2, [4, 1]),
        ([1, 2, 3, 4, 1, 2, 3], 0, []),
        ([9, 2, 3, 5, 7, 2, 3], 8, [5, 7, 2, 3]),  # three are nowhere, two are
        ([3, 5, 3, 6, 0, 3], 8, [6, 0, 3]),  # the latest
        ([1, 2, 3, 8, 2, 3, 9, 1, 2, 3], 8, [8, 2, 3, 9, 1, 2, 3]),  # three before two
        ([*range(20), 0, 1, 2], 99, [*range(3, 11)]),  # at most eight
    ],
)
def test_a_draft_is_what_followed_the_latest_earlier_occurrence(
    history: list[int], most: int, expected: list[int]
) -> None:
    assert drafted(history, most) == expected


@pytest.mark.parametrize(
    ("history", "keep", "expected"),
    [
        ([0, 1, 2, 3, 4, 5, 6], 2, [0, 1, 5, 6]),
        ([0, 1, 2, 3], 0, [2, 3]),
        ([0, 1, 2, 3, 4], 0, [3, 4]),
        ([0, 1, 2], 2, [0, 1]),
        ([0, 1, 2], 3, [0, 1, 2]),
        ([0, 1, 2], 9, [0, 1, 2]),
    ],
)
def test_a_shift_keeps_the_first_and_half_of_the_rest(
    history: list[int], keep: int, expected: list[int]
) -> None:
    assert kept_by_shift(history, keep) == expected
