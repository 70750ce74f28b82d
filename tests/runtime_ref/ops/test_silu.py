"""silu: x times the logistic function of x."""

from __future__ import annotations

import numpy as np

from bitexport_ref.ops.silu import silu


def test_every_step_is_rounded_once(plain, same_bits):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-100, 100, 500), rng.standard_normal(500)]).astype(np.float32)
    f32 = plain.f32
    same_bits(silu(x), [f32(v / f32(1 + plain.exp(f32(0 - v)))) for v in x.tolist()])


def test_these_values_are_known(same_bits):
    """Above 88 exp is infinite, so x ÷ infinity is -0; below -87 it is +0, so x stays."""
    x = np.array([0.0, -0.0, 100.0, -100.0, 1e-45], np.float32)
    same_bits(silu(x), [0.0, -0.0, 100.0, -0.0, 0.0])


def test_it_is_close_to_the_function():
    x = np.linspace(-30, 30, 10001).astype(np.float32)
    truth = x.astype(np.float64) / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(silu(x), truth, rtol=4e-7, atol=1e-30)
