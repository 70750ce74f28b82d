"""Trits in floats, and how far others are from them."""

from __future__ import annotations

import numpy as np

from bitexport.checkpoints.matrix import Kind
from bitexport.models.network.ternary import trits_of, what_is_wrong


def test_rows_of_one_magnitude_are_trits() -> None:
    found = trits_of(np.array([[0.5, 0, -0.5], [0, 0, 0], [-2, 2, 0]], np.float32))
    assert found
    assert found.values.tolist() == [[1, 0, -1], [0, 0, 0], [-1, 1, 0]]
    assert found.scale.tolist() == [0.5, 0.5, 2]
    assert found.kind is Kind.TRITS


def test_one_scale_is_said_once_and_weights_without_0_are_signs() -> None:
    found = trits_of(np.array([[0.5, -0.5], [0.5, 0.5]], np.float32))
    assert found
    assert (found.kind, found.scale.tolist()) == (Kind.SIGNS, [0.5])
    assert trits_of(np.zeros((2, 3), np.float32)).scale.tolist() == [1]  # type: ignore[union-attr]


def test_almost_ternary_rows_are_told_with_their_distance() -> None:
    weight = np.tile(np.array([1, 0, -1, 1, 1, -1], np.float32), (8, 1))
    weight[2, 0], weight[5, 1] = 1.03, 0.01
    assert trits_of(weight) is None
    said = what_is_wrong(weight)
    assert said.startswith("are almost ternary, but not quite: row 2 is off by 2.4 % of its scale")
    assert said.endswith("row 5 by 1 %")
    weight[:, 0] += np.float32(0.001)
    assert what_is_wrong(weight).endswith(", and 4 more")


def test_other_rows_are_told_with_their_magnitudes() -> None:
    weight = np.array([[1, 0, -1], [0.25, 0.5, 1], [3, 2, 1]], np.float32)
    assert what_is_wrong(weight) in (
        "are not ternary: row 1 has 3 magnitudes; 1 more rows are not",
        "are not ternary: row 2 has 3 magnitudes; 1 more rows are not",
    )
