"""embed: the table's rows, widened."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import TokenOutside
from bitexport_ref.ops.embed import embed_bf16, embed_f16, embed_f32, embed_q8

IDS = np.array([[2, 0, 2], [1, 1, 0]], np.int64)


def test_f32_rows_are_taken_as_they_are(same_bits):
    table = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    same_bits(embed_f32(IDS, table), [[table[i] for i in row] for row in IDS])


def test_bf16_rows_are_the_upper_halves(plain, same_bits):
    table = np.random.default_rng(0).integers(0, 0x7F80, (3, 5)).astype(np.uint16)
    expected = [[[plain.f32_from_bits(int(b) << 16) for b in table[i]] for i in row] for row in IDS]
    same_bits(embed_bf16(IDS, table), expected)


def test_f16_rows_are_widened(same_bits):
    table = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float16)
    table[1, 0] = 6e-8
    same_bits(embed_f16(IDS, table), [[[float(v) for v in table[i]] for i in row] for row in IDS])


def test_q8_rows_are_scaled_each_by_its_own(plain, same_bits):
    rng = np.random.default_rng(0)
    table = rng.integers(-128, 128, (3, 5)).astype(np.int8)
    scale = rng.standard_normal(3).astype(np.float32)
    expected = [
        [[plain.f32(int(c) * float(scale[i])) for c in table[i]] for i in row] for row in IDS
    ]
    same_bits(embed_q8(IDS, table, scale), expected)


@pytest.mark.parametrize("token", [-1, 3, 2**40])
def test_a_token_outside_the_vocabulary_is_refused(token):
    ids = np.array([0, token], np.int64)
    with pytest.raises(TokenOutside, match=f"token {token} is outside the vocabulary of 3"):
        embed_f32(ids, np.zeros((3, 2), np.float32))
