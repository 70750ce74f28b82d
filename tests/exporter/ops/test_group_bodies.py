"""Bodies of the ops over packed small integers, against NUMERICS.md written out in NumPy.

Their unpacking, every sum of integers and every sum over groups, in its order, are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitexport.layouts import load_layout

Array = NDArray[Any]
Body = Callable[..., list[Array]]

VALUES = {"P2R": (-1, 0, 1), "B1R": (-1, 1), "Q4R": tuple(range(-8, 8))}
LAYOUTS = list(VALUES)
FORMS = ["", *LAYOUTS]
SHAPES = [(1, 1, 16), (3, 5, 16), (33, 64, 32), (20, 300, 128), (70, 37, 16), (9, 96, 4096)]
"""(n, k, group)"""


@pytest.fixture
def rng() -> np.random.Generator:
    """Return seeded random numbers."""
    return np.random.default_rng(9)


def weights_of(rng: np.random.Generator, suffix: str, n: int, k: int) -> tuple[Array, Array]:
    """Return random weights [n, k], as they are and as the form takes them."""
    weights = rng.choice(np.array(VALUES.get(suffix, VALUES["Q4R"]), np.int8), (n, k))
    return weights, load_layout(suffix.lower()).pack(weights) if suffix else weights


def codes(rng: np.random.Generator, *shape: int) -> NDArray[np.int8]:
    """Return int8 over the whole range."""
    return rng.integers(-128, 128, shape).astype(np.int8)


def scales(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Return scales above zero."""
    return rng.uniform(0.5, 2, shape).astype(np.float32)


def group_matmul(
    q: Array, weights: Array, weight_scale: Array, scale: Array, group: int, low: Array | None
) -> NDArray[np.float32]:
    """Return y of GroupMatMul for rows q [rows, k], one rounded operation after the other."""
    n, k = weights.shape
    wide = 256 * q.astype(np.int64) + low if low is not None else q.astype(np.int64)
    groups = -(-k // group)
    d = np.broadcast_to(weight_scale.astype(np.float32), (groups, n))
    r = np.broadcast_to(np.float32(1) / scale, (len(q), groups))
    y = np.zeros((len(q), n), np.float32)
    for g in range(groups):
        at = slice(g * group, min(k, (g + 1) * group))
        sums = (wide[:, at] @ weights[:, at].T.astype(np.int64)).astype(np.float32)
        y = y + (sums * d[g]) * r[:, g : g + 1]
    return y


@pytest.mark.parametrize("suffix", LAYOUTS)
@pytest.mark.parametrize(("n", "k", "group"), SHAPES)
def test_a_product_of_one_column_shows_every_weight_as_it_was_packed(
    suffix: str, n: int, k: int, group: int, rng: np.random.Generator, body: Body
) -> None:
    """One group, scales of 1 and a single 1 among the activations: y is the column, exactly."""
    weights, packed = weights_of(rng, suffix, n, k)
    ones = np.ones((1, 1), np.float32)
    inputs = {"q": np.eye(k, dtype=np.int8), "weight": packed, "weight_scale": ones,
              "scale": np.ones((k, 1), np.float32)}  # fmt: skip
    (found,) = body(f"GroupMatMul{suffix}", inputs, (np.float32,), n=n, k=k, group=group)
    np.testing.assert_array_equal(found, weights.T.astype(np.float32))


@pytest.mark.parametrize(("n", "k"), [(1, 1), (3, 5), (33, 64), (70, 37), (32, 16)])
def test_ternary_matmul_b1r_is_equal(n: int, k: int, rng: np.random.Generator, body: Body) -> None:
    signs, packed = weights_of(rng, "B1R", n, k)
    q = codes(rng, 2, 3, k)
    (found,) = body("TernaryMatMulB1R", {"q": q, "weight": packed}, (np.int32,), n=n, k=k)
    np.testing.assert_array_equal(found, q.astype(np.int32) @ signs.T.astype(np.int32))


@pytest.mark.parametrize("suffix", FORMS)
@pytest.mark.parametrize("by_group", [False, True], ids=["scale_a_row", "scale_a_group"])
@pytest.mark.parametrize(("n", "k", "group"), SHAPES)
def test_group_matmul_is_equal(
    suffix: str, by_group: bool, n: int, k: int, group: int, rng: np.random.Generator,
    body: Body,
) -> None:  # fmt: skip
    groups = -(-k // group)
    weights, stored = weights_of(rng, suffix, n, k)
    q, weight_scale = codes(rng, 2, 3, k), scales(rng, groups, n).astype(np.float16)
    scale = scales(rng, 2, 3, groups if by_group else 1)
    inputs = {"q": q, "weight": stored, "weight_scale": weight_scale, "scale": scale}
    (found,) = body(f"GroupMatMul{suffix}", inputs, (np.float32,), n=n, k=k, group=group)
    expected = group_matmul(
        q.reshape(6, k), weights, weight_scale, scale.reshape(6, -1), group, None
    )
    np.testing.assert_array_equal(found, expected.reshape(2, 3, n))


@pytest.mark.parametrize("suffix", FORMS)
@pytest.mark.parametrize(("n", "k", "group"), SHAPES)
def test_group_matmul_int16_is_equal(
    suffix: str, n: int, k: int, group: int, rng: np.random.Generator, body: Body
) -> None:
    weights, stored = weights_of(rng, suffix, n, k)
    high, low = np.maximum(codes(rng, 4, k), -127), codes(rng, 4, k)
    weight_scale, scale = scales(rng, -(-k // group), n), scales(rng, 4, 1)
    inputs = {"high": high, "weight": stored, "weight_scale": weight_scale, "scale": scale,
              "low": low}  # fmt: skip
    (found,) = body(f"GroupMatMulInt16{suffix}", inputs, (np.float32,), n=n, k=k, group=group)
    np.testing.assert_array_equal(
        found, group_matmul(high, weights, weight_scale, scale, group, low)
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 1)], ids=["one", "by_row", "by_group"])
def test_group_matmul_shares_scales_where_the_matrix_has_one(
    shape: tuple[int, int], rng: np.random.Generator, body: Body
) -> None:
    weights, stored = weights_of(rng, "P2R", 9, 40)
    q, weight_scale, scale = codes(rng, 4, 40), scales(rng, *shape), scales(rng, 4, 1)
    inputs = {"q": q, "weight": stored, "weight_scale": weight_scale, "scale": scale}
    (found,) = body("GroupMatMulP2R", inputs, (np.float32,), n=9, k=40, group=16)
    np.testing.assert_array_equal(found, group_matmul(q, weights, weight_scale, scale, 16, None))


@pytest.mark.parametrize("suffix", FORMS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(("n", "k", "group"), SHAPES)
def test_group_embed_is_equal(
    suffix: str, dtype: type[np.floating[Any]], n: int, k: int, group: int,
    rng: np.random.Generator, body: Body,
) -> None:  # fmt: skip
    table, stored = weights_of(rng, suffix, n, k)
    table_scale = scales(rng, -(-k // group), n).astype(dtype)
    ids = np.concatenate([[0, n - 1], rng.integers(0, n, 4)]).reshape(2, 3)
    inputs = {"ids": ids, "table": stored, "table_scale": table_scale}
    (found,) = body(f"GroupEmbed{suffix}", inputs, (np.float32,), n=n, k=k, group=group)
    of_column = table_scale.astype(np.float32)[np.arange(k) // group].T
    np.testing.assert_array_equal(found, (table.astype(np.float32) * of_column)[ids])


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 1)], ids=["one", "by_row", "by_group"])
def test_group_embed_shares_scales_where_the_matrix_has_one(
    shape: tuple[int, int], rng: np.random.Generator, body: Body
) -> None:
    table, stored = weights_of(rng, "B1R", 40, 40)
    table_scale, ids = scales(rng, *shape), np.array([[39, 0, 31, 32]])
    inputs = {"ids": ids, "table": stored, "table_scale": table_scale}
    (found,) = body("GroupEmbedB1R", inputs, (np.float32,), n=40, k=40, group=16)
    of_column = np.broadcast_to(table_scale, (3, 40))[np.arange(40) // 16].T
    np.testing.assert_array_equal(found, (table.astype(np.float32) * of_column)[ids])
