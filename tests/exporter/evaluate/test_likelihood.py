"""exp, log and nats in float64: near the truth, and made of operations that all machines share."""

from __future__ import annotations

import decimal
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from bitexport.evaluate import likelihood
from bitexport.evaluate.likelihood import exp, log, token_nats

EXP_ULPS, LOG_ULPS = 2.0, 3.0  # as they promise, judged by sixty decimal digits

decimal.getcontext().prec = 60


def ulps(made: NDArray[np.float64], true: list[decimal.Decimal]) -> float:
    """Return the largest distance in units in the last place of the true value."""
    units = [decimal.Decimal(math.ulp(float(exact))) for exact in true]
    return max(
        float(abs(decimal.Decimal(value) - exact) / unit)
        for value, exact, unit in zip(made.tolist(), true, units, strict=True)
    )


def test_exp_is_within_two_units_of_the_truth() -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate(
        [rng.uniform(-700, 700, 2000), rng.uniform(-1, 1, 2000), [0.0, -0.0, 1e-300]]
    )
    assert ulps(exp(x), [decimal.Decimal(value).exp() for value in x.tolist()]) <= EXP_ULPS


def test_exp_of_almost_nothing_is_nothing() -> None:
    assert exp(np.array([-750.0, -1e6, -1e300, -np.inf])).tolist() == [0, 0, 0, 0]


def test_log_is_within_three_units_of_the_truth() -> None:
    rng = np.random.default_rng(2)
    x = np.concatenate(
        [rng.uniform(1, 2e5, 2000), 1 + rng.uniform(0, 1e-3, 2000), [1 + 2**-52, 2.0, 2**17]]
    )
    assert ulps(log(x), [decimal.Decimal(value).ln() for value in x.tolist()]) <= LOG_ULPS
    assert log(np.array([1.0])).tolist() == [0.0]


def exact_nats(row: list[float], target: int) -> decimal.Decimal:
    """Return -log softmax(row)[target] with sixty digits."""
    total = sum((decimal.Decimal(value).exp() for value in row), decimal.Decimal(0))
    return total.ln() - decimal.Decimal(row[target])


def test_nats_are_minus_log_softmax() -> None:
    rng = np.random.default_rng(3)
    logits = (8 * rng.standard_normal((5, 300))).astype(np.float32)
    targets = [0, 299, 7, 150, 3]
    for made, row, target in zip(
        token_nats(logits, targets), logits.tolist(), targets, strict=True
    ):
        assert abs(decimal.Decimal(float(made)) - exact_nats(row, target)) < decimal.Decimal(
            "1e-13"
        )


def test_large_logits_neither_overflow_nor_hide_the_rest() -> None:
    logits = np.array([[3e38, 0, -3e38], [-1e4, -1e4, -1e4]], np.float32)
    first, second = token_nats(logits, [0, 1]).tolist()
    assert first == 0.0
    assert second == pytest.approx(np.log(3), rel=1e-15)


def test_how_many_rows_are_taken_at_a_time_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    logits = rng.standard_normal((33, 70)).astype(np.float32)
    targets = rng.integers(0, 70, 33).tolist()
    whole = token_nats(logits, targets)
    monkeypatch.setattr(likelihood, "BLOCK_ELEMENTS", 1)
    assert token_nats(logits, targets).tobytes() == whole.tobytes()


def test_nats_are_these_bits_on_every_machine() -> None:
    logits = np.arange(-64, 64, dtype=np.float32).reshape(2, 64) / np.float32(7)
    made = [value.hex() for value in token_nats(logits, [3, 60]).tolist()]
    assert made == ["0x1.52cf576a8e964p+3", "0x1.38f43a2a49c64p+1"]
