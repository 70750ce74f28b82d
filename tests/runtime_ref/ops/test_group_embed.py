"""group_embed: the rows that ids name, unpacked and scaled by groups."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand, TokenOutside
from bitexport_ref.layouts import PackedMatrix
from bitexport_ref.ops.group_embed import LAYOUTS, group_embed

IDS = np.array([[2, 0, 69], [1, 2, 33]], np.int64)
VOCAB, COLUMNS, GROUP = 70, 40, 16


def table_of(layout):
    raw = np.random.default_rng(1).integers(0, 256, layout.packed_bytes(VOCAB, COLUMNS))
    return PackedMatrix(raw.astype(np.uint8), layout, n=VOCAB, k=COLUMNS)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("shape", [(3, VOCAB), (1, VOCAB), (3, 1), (1, 1)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_every_number_is_scaled_by_its_group(layout, shape, dtype, plain, same_bits):
    table = table_of(layout)
    scale = np.random.default_rng(2).standard_normal(shape).astype(dtype)
    spread = np.broadcast_to(scale, (3, VOCAB))
    found = group_embed(IDS, table, scale, group=GROUP)
    expected = [
        [
            [
                plain.f32(int(w) * float(spread[i // GROUP, id_]))
                for i, w in enumerate(table[:][id_])
            ]
            for id_ in row
        ]
        for row in IDS
    ]
    same_bits(found, expected)


def test_only_the_bands_of_named_rows_are_unpacked(monkeypatch):
    bands = []
    lines = PackedMatrix.lines
    monkeypatch.setattr(
        PackedMatrix, "lines", lambda self, a, b: bands.append((a, b)) or lines(self, a, b)
    )
    group_embed(IDS, table_of(LAYOUTS[0]), np.ones((1, 1), np.float32), group=GROUP)
    assert bands == [(0, 1), (0, 1), (0, 1), (2, 3), (4, 5)]


def test_no_ids_give_no_rows():
    found = group_embed(
        np.zeros((1, 0), np.int64), table_of(LAYOUTS[0]), np.ones((1, 1), np.float32), group=16
    )
    assert found.shape == (1, 0, COLUMNS)


@pytest.mark.parametrize("token", [-1, 70, 2**40])
def test_a_token_outside_the_table_is_refused(token):
    with pytest.raises(TokenOutside, match=f"token {token} is outside the vocabulary of 70"):
        group_embed(np.array([token]), table_of(LAYOUTS[1]), np.ones((1, 1), np.float32), group=16)


@pytest.mark.parametrize("shape", [(2, VOCAB), (3, 69), (VOCAB, 3)])
def test_scales_of_another_shape_are_refused(shape):
    with pytest.raises(BadOperand, match="does not fit a table of 70 by 40 in groups of 16"):
        group_embed(IDS, table_of(LAYOUTS[0]), np.ones(shape, np.float32), group=GROUP)
