"""The structure found is the coarsest, and multiplying with it loses nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bitexport.checkpoints.scales import Shared, coarsest

RNG = np.random.default_rng(5)


def spread(shared: Shared, n: int, k: int) -> NDArray[np.float32]:
    """Return the scale of every weight [n, k]."""
    group = shared.group or k
    scale = np.broadcast_to(shared.scale, (-(-k // group), shared.scale.shape[1]))
    return np.broadcast_to(np.repeat(scale, group, axis=0)[:k].T, (n, k))


def fine_of(scales: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return np.ascontiguousarray(scales[:, ::size])


CASES = {
    "tensor": (np.full((8, 512), 0.5), (1, 1), 0),
    "row": (np.repeat(RNG.random((8, 1)), 512, 1), (1, 8), 0),
    "block_of_rows": (np.repeat(np.repeat(RNG.random((2, 1)), 4, 0), 512, 1), (1, 8), 0),
    "two_shards": (np.repeat(np.repeat(RNG.random((1, 2)), 256, 1), 8, 0), (2, 1), 256),
    "shards_of_96": (np.repeat(np.repeat(RNG.random((1, 7)), 96, 1), 8, 0), (7, 1), 96),
    "groups_of_128": (np.repeat(RNG.random((8, 4)), 128, 1), (4, 8), 128),
    "groups_of_64": (np.repeat(RNG.random((8, 8)), 64, 1), (8, 8), 64),
    "groups_of_32": (np.repeat(RNG.random((8, 16)), 32, 1), (16, 8), 32),
    "ragged_64": (np.repeat(RNG.random((8, 6)), 64, 1)[:, :330], (6, 8), 64),
    "ragged_32": (np.repeat(RNG.random((8, 11)), 32, 1)[:, :330], (11, 8), 32),
    "wide_shards": (np.repeat(np.repeat(RNG.random((1, 2)), 6144, 1), 2, 0), (4, 1), 3072),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("binary", [False, True])
def test_the_coarsest_structure_wins(name: str, binary: bool) -> None:
    scales, shape, group = CASES[name]
    scales = scales.astype(np.float32)
    found = coarsest(fine_of(scales, 32), 32, scales.shape[1], binary=binary)
    assert (found.scale.shape, found.group) == (shape, group)
    np.testing.assert_array_equal(spread(found, *scales.shape), scales)


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"groups_of_32", "ragged_32"}))
def test_groups_of_zeros_hide_no_structure(name: str) -> None:
    scales, shape, group = CASES[name]
    fine = fine_of(scales.astype(np.float32), 32)
    fine[0, 1] = 0
    found = coarsest(fine, 32, scales.shape[1], binary=False)
    assert (found.scale.shape, found.group) == (shape, group)
    known = fine != 0
    whole = spread(found, *scales.shape)[:, ::32]
    np.testing.assert_array_equal(whole[known], fine[known])
    assert (found.scale > 0).all()


def test_a_matrix_of_zeros_has_scale_1() -> None:
    found = coarsest(np.zeros((4, 4), np.float32), 32, 128, binary=False)
    assert (found.scale.tolist(), found.group) == ([[1.0]], 0)


def test_a_scale_of_zero_is_one_in_a_binary_matrix() -> None:
    fine = np.array([[1, 1], [1, 0]], np.float32)
    found = coarsest(fine, 128, 256, binary=True)
    np.testing.assert_array_equal(spread(found, 2, 256)[:, ::128], fine)
    assert found.group == 128
