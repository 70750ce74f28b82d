"""Thresholds say exactly what steps and a quantizer do: every sum is tried."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bitexport.models.network import steps, thresholds
from bitexport.models.network.quantizers import Quantizer, bounds

Floats = NDArray[np.float32]
COLUMNS, BOUND = 9, 400


def random_steps(draw: np.random.Generator) -> list[steps.Step]:
    """Return a norm, an offset, a factor and a Relu, all rising or falling as they like."""
    scale, bias, mean, variance = draw.standard_normal((4, COLUMNS)).astype(np.float32)
    scale[0] = 0
    norm = steps.normalize(scale, bias, 50 * mean, 2000 * np.abs(variance) + 1, np.float32(1e-5))
    one = draw.standard_normal(3).astype(np.float32)
    every = [
        norm, steps.add(one[:1]), steps.multiply(one[1:2]), steps.subtract_from(one[2:]),
        steps.divide(one[:1]), steps.subtract(one[1:2]), steps.relu(),
        steps.clip(np.float32(-1), np.float32(1.5)),
    ]  # fmt: skip
    return [norm, *draw.permutation(np.array(every[1:], object)).tolist()[:3]]


def chain(every: list[steps.Step], x: Floats) -> Floats:
    """Apply steps one after the other."""
    for step in every:
        x = step.apply(x)
    return x


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "quantizer",
    [Quantizer(np.float32(0.5), -1, 1, 2), Quantizer(np.float32(0.5), -1, 1),
     Quantizer(np.float32(0.3), 0, 3), Quantizer(np.float32(0.07), -8, 7)],
    ids=["bipolar", "ternary", "unsigned", "four bits"],
)  # fmt: skip
def test_every_sum_gets_its_code(seed: int, quantizer: Quantizer) -> None:
    every = random_steps(np.random.default_rng(seed))
    sign = np.where(steps.falls(every), np.float32(-1), np.float32(1))
    bound = np.arange(BOUND - COLUMNS, BOUND)
    levels = thresholds.of_sums(
        lambda s: chain(every, s * sign), quantizer, COLUMNS, bound.astype(np.int64)
    )
    assert levels.dtype == np.int32
    assert levels.shape == (quantizer.levels, COLUMNS)
    assert np.all(np.diff(levels, axis=0) >= 0)
    for column in range(COLUMNS):
        sums = np.arange(-bound[column], bound[column] + 1)
        wide = np.repeat(sums[:, None], COLUMNS, axis=1).astype(np.float32)
        expected = quantizer.codes(chain(every, wide * sign))[:, column]
        reached = (sums[:, None] >= levels[:, column]).sum(axis=1)
        np.testing.assert_array_equal(quantizer.least + quantizer.step * reached, expected)


@pytest.mark.parametrize("seed", range(6))
def test_floats_next_to_a_threshold_get_their_codes(seed: int) -> None:
    every = random_steps(np.random.default_rng(seed))
    quantizer = Quantizer(np.float32(0.25), -2, 1)
    sign = np.where(steps.falls(every), np.float32(-1), np.float32(1))
    levels = thresholds.of_floats(lambda x: chain(every, x * sign), quantizer, COLUMNS)
    finite = np.clip(levels, np.float32(-3e38), np.float32(3e38))
    below = np.nextafter(finite, np.float32(-np.inf))
    above = np.nextafter(finite, np.float32(np.inf))
    draw = np.random.default_rng(seed + 100).standard_normal((500, COLUMNS)).astype(np.float32)
    for x in (below, finite, above, 10 * draw):
        x = np.clip(x, -3e38, 3e38)  # noqa: PLW2901
        expected = quantizer.codes(chain(every, x * sign))
        reached = (x[:, None] >= levels).sum(axis=1)
        np.testing.assert_array_equal(quantizer.least + reached, expected)


def test_a_level_that_nothing_reaches_lies_behind_all() -> None:
    quantizer = Quantizer(np.float32(1), 0, 3)
    bound = np.array([5], np.int64)
    levels = thresholds.of_sums(lambda s: np.minimum(s, np.float32(2)), quantizer, 1, bound)
    assert levels[:, 0].tolist() == [1, 2, 6]
    found = thresholds.of_floats(lambda x: np.minimum(x, np.float32(2)), quantizer, 1)
    assert found[2, 0] == np.inf


@pytest.mark.parametrize(
    ("bits", "signed", "narrow", "expected"),
    [(2, True, True, (-1, 1)), (2, True, False, (-2, 1)), (2, False, False, (0, 3)),
     (8, True, False, (-128, 127)), (3, False, True, (0, 6)), (1, False, False, (0, 1))],
)  # fmt: skip
def test_bounds_are_those_of_qonnx(
    bits: int, signed: bool, narrow: bool, expected: tuple[int, int]
) -> None:
    assert bounds(bits, signed=signed, narrow=narrow) == expected


def test_steps_that_follow_each_other_fold() -> None:
    one = np.array([2], np.float32)
    run = [steps.multiply(one), steps.add(one), steps.subtract_from(one), steps.divide(one)]
    factor, offset = steps.folded(run)
    assert (factor.tolist(), offset.tolist()) == ([-1.0], [0.0])
    assert steps.falls(run).tolist() == [True]
