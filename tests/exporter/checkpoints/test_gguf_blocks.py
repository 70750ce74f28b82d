"""Blocks of GGUF are, weight by weight, what the definition of their type says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.gguf_bytes import Raw, Sizes, write_model

from bitexport.checkpoints.checkpoint import Checkpoint, open_checkpoint
from bitexport.checkpoints.decode import (
    NotTernaryError,
    Scheme,
    linear_weights,
    table_weights,
)
from bitexport.checkpoints.matrix import Kind
from bitexport.checkpoints.stored_tensor import BLOCKS
from bitexport.checkpoints.weights import Weights
from bitexport.errors import CheckpointError

NAME = "model.layers.0.mlp.gate_proj"
N, K = 6, 512
IDS = {"TQ1_0": 34, "TQ2_0": 35, "I2_S": 36, "Q1_0": 41, "Q2_0": 42, "Q2_0_G128": 42,
       "PQ2_0": 142, "Q4_0": 2, "Q8_0": 8, "Q4_K": 12, "Q6_K": 14}  # fmt: skip
SCALE_AT = {"TQ1_0": 52, "TQ2_0": 64, "Q6_K": 208}


def holding(folder: Path, dtype: str, data: bytes, n: int = N, k: int = K) -> Checkpoint:
    """Return an opened file with one layer of this type."""
    raw = Raw(IDS[dtype], (n, k), data)
    return open_checkpoint(write_model(folder / "m.gguf", "qwen3", {"blk.0.ffn_gate.weight": raw}))


def read(checkpoint: Checkpoint, n: int = N, k: int = K) -> Weights:
    return linear_weights(checkpoint, NAME, n, k, Scheme.UNPACKED)


def multiplied(weights: Weights) -> NDArray[np.float32]:
    """Return values times scales, as a reader of NUMERICS.md multiplies them."""
    values = weights.values.read_rows(0, weights.values.rows).astype(np.float32)
    assert weights.scale is not None
    scale = weights.scale.floats(0, weights.scale.rows)
    n, k = values.shape
    group = weights.group or k
    wide = np.repeat(np.broadcast_to(scale, (-(-k // group), scale.shape[1])), group, axis=0)
    return values * np.broadcast_to(wide[:k].T, (n, k))


def random_blocks(dtype: str, scales: Callable[[int], NDArray[np.float16]]) -> bytes:
    """Return blocks of random codes but for code 3, with these scales."""
    rng = np.random.default_rng(len(dtype))
    weights, size = BLOCKS[dtype]
    count = N * K // weights
    blocks = rng.integers(0, 256, (count, size), np.uint8)
    if dtype in ("TQ2_0", "I2_S", "Q2_0", "Q2_0_G128", "PQ2_0"):
        codes = rng.integers(0, 3, (count, size, 4), np.uint8)
        blocks = codes[..., 0] | codes[..., 1] << 2 | codes[..., 2] << 4 | codes[..., 3] << 6
    if dtype != "I2_S":
        at = SCALE_AT.get(dtype, 0)
        blocks[:, at : at + 2] = scales(count).astype("<f2").view(np.uint8).reshape(count, 2)
    if dtype == "Q4_K":
        blocks[:, 2:4] = scales(count)[::-1].astype("<f2").copy().view(np.uint8).reshape(count, 2)
    return blocks.tobytes()


def some(count: int) -> NDArray[np.float16]:
    """Return scales of every size, subnormal ones and the largest among them."""
    rng = np.random.default_rng(9)
    found = np.exp(rng.uniform(-12, 8, count)).astype(np.float16)
    found[:3] = 6e-8, 65504, 2**-14
    return found


def signed(count: int) -> NDArray[np.float16]:
    found = some(count)
    found[1::2] *= -1
    found[4::7] = 0
    found[5::7] = -0.0
    return found


@pytest.mark.parametrize("scales", [some, signed], ids=["positive", "with_sign_and_zero"])
@pytest.mark.parametrize("dtype", ["TQ1_0", "TQ2_0", "Q4_0"])
def test_types_of_the_gguf_package_are_what_it_dequantizes(
    tmp_path: Path, dtype: str, scales: Callable[[int], NDArray[np.float16]]
) -> None:
    data = random_blocks(dtype, scales)
    oracle = gguf.dequantize(
        np.frombuffer(data, np.uint8).reshape(N, -1), gguf.GGMLQuantizationType[dtype]
    )
    found = read(holding(tmp_path, dtype, data))
    np.testing.assert_array_equal(multiplied(found), oracle)
    assert found.group == BLOCKS[dtype][0]


@pytest.mark.parametrize("dtype", ["Q8_0", "Q4_K", "Q6_K"])
def test_types_of_tables_are_widened_to_the_floats_they_stand_for(
    tmp_path: Path, dtype: str
) -> None:
    data = random_blocks(dtype, signed)
    checkpoint = holding(tmp_path, dtype, data)
    oracle = gguf.dequantize(
        np.frombuffer(data, np.uint8).reshape(N, -1), gguf.GGMLQuantizationType[dtype]
    )
    found = table_weights(checkpoint, NAME, N, K)
    assert found.values.kind is Kind.FLOAT
    assert found.scale is None
    np.testing.assert_array_equal(found.values.read_rows(0, N), oracle)
    np.testing.assert_array_equal(found.values.read_rows(2, 5), oracle[2:5])
    # No rounding has happened: the same product in float64 is the same number.
    blocks = np.frombuffer(data, np.uint8).reshape(-1, BLOCKS[dtype][1])
    at = SCALE_AT.get(dtype, 0)
    d = blocks[:, at : at + 2].copy().view("<f2").astype(np.float64)
    if dtype == "Q8_0":
        exact = d * blocks[:, 2:].view(np.int8)
        np.testing.assert_array_equal(oracle.reshape(exact.shape), exact)
    with pytest.raises(NotTernaryError, match=f"is {dtype}: rounded after training") as refusal:
        linear_weights(checkpoint, NAME, N, K, Scheme.UNPACKED)
    for way in ("--precision PATTERN=f32", "--ternarize absmean"):
        assert way in str(refusal.value.hint)
    kept = linear_weights(checkpoint, NAME, N, K, Scheme.FLOAT)
    np.testing.assert_array_equal(kept.values.read_rows(0, N), oracle)


@pytest.mark.parametrize("dtype", ["Q8_0", "Q4_K", "Q6_K"])
def test_absmean_makes_trits_of_the_floats_that_blocks_stand_for(
    tmp_path: Path, dtype: str
) -> None:
    data = random_blocks(dtype, lambda count: np.full(count, 0.01, np.float16))
    oracle = gguf.dequantize(
        np.frombuffer(data, np.uint8).reshape(N, -1), gguf.GGMLQuantizationType[dtype]
    )
    weights = linear_weights(holding(tmp_path, dtype, data), NAME, N, K, Scheme.ABSMEAN)
    mean = np.abs(oracle).mean(dtype=np.float64)
    trits = np.clip(np.rint(oracle / mean), -1, 1)
    np.testing.assert_array_equal(weights.values.read_rows(0, N), trits)
    assert weights.scale is not None
    assert float(weights.scale.floats(0, 1)[0, 0]) == pytest.approx(mean, rel=1e-6)


def test_a_second_scale_that_is_no_number_is_refused(tmp_path: Path) -> None:
    data = bytearray(random_blocks("Q4_K", some))
    data[2:4] = b"\x00\x7c"  # infinity
    found = table_weights(holding(tmp_path, "Q4_K", bytes(data)), NAME, N, K)
    with pytest.raises(CheckpointError, match="has the scale inf in block 0 of row 0"):
        found.values.read_rows(0, 1)


def plain(dtype: str, data: bytes) -> NDArray[np.float32]:
    """Return the weights of a type, one at a time, as the table of block types says them."""
    weights, size = BLOCKS[dtype]
    found = []
    for start in range(0, N * K // weights * size, size):
        block = data[start : start + size]
        d = float(np.frombuffer(block[:2], "<f2")[0])
        for j in range(weights):
            if dtype == "Q1_0":
                found.append(d if block[2 + j // 8] >> j % 8 & 1 else -d)
            else:
                found.append(((block[2 + j // 4] >> 2 * (j % 4) & 3) - 1) * d)
    return np.array(found, np.float32).reshape(N, K)


@pytest.mark.parametrize("scales", [some, signed], ids=["positive", "with_sign_and_zero"])
@pytest.mark.parametrize("dtype", ["Q1_0", "Q2_0", "Q2_0_G128", "PQ2_0"])
def test_group_types_are_what_their_table_says(
    tmp_path: Path, dtype: str, scales: Callable[[int], NDArray[np.float16]]
) -> None:
    data = random_blocks(dtype, scales)
    found = read(holding(tmp_path, dtype, data))
    np.testing.assert_array_equal(multiplied(found), plain(dtype, data))
    assert found.values.kind is (Kind.SIGNS if dtype == "Q1_0" else Kind.TRITS)
    assert found.group == BLOCKS[dtype][0]
    assert found.scale is not None
    assert found.scale.kind is Kind.FLOAT16
    assert (found.scale.rows, found.scale.columns) == (K // found.group, N)
    scale = found.scale.read_rows(0, found.scale.rows)
    assert scale.dtype == np.float16
    assert not np.signbit(scale).any()
    np.testing.assert_array_equal(found.scale.read_rows(1, 3), scale[1:3])


@pytest.mark.parametrize("dtype", ["TQ1_0", "TQ2_0", "I2_S", "Q1_0", "Q2_0", "PQ2_0", "Q4_0"])
def test_rows_read_in_any_block_are_the_whole(tmp_path: Path, dtype: str) -> None:
    data = random_blocks(dtype, some)
    if dtype == "I2_S":
        data += np.float32(0.5).tobytes() + bytes(28)
    values = read(holding(tmp_path, dtype, data)).values
    whole = values.read_rows(0, N)
    for start in range(N):
        for stop in range(start + 1, N + 1):
            np.testing.assert_array_equal(values.read_rows(start, stop), whole[start:stop])


@pytest.mark.parametrize("dtype", ["TQ1_0", "TQ2_0", "Q1_0", "Q2_0", "PQ2_0"])
def test_blocks_of_one_scale_are_a_matrix_of_one_scale(tmp_path: Path, dtype: str) -> None:
    data = random_blocks(dtype, lambda count: np.full(count, 0.75, np.float16))
    found = read(holding(tmp_path, dtype, data))
    assert found.group == 0
    assert found.scale is not None
    assert found.scale.kind is Kind.FLOAT
    assert found.scale.read_rows(0, 1).tolist() == [[0.75]]


@pytest.mark.parametrize("dtype", ["TQ1_0", "TQ2_0"])
def test_a_block_of_zeros_takes_the_scale_of_the_others(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(1).integers(-1, 2, (N, K)).astype(np.float32) * 0.25
    values[1, 256:] = 0
    data = gguf.quantize(values, gguf.GGMLQuantizationType[dtype]).tobytes()
    found = read(holding(tmp_path, dtype, data))
    assert found.group == 0
    np.testing.assert_array_equal(multiplied(found), values)


@pytest.mark.parametrize("dtype", ["TQ1_0", "TQ2_0", "Q1_0", "Q2_0", "PQ2_0", "Q4_0", "Q8_0"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_a_scale_that_is_no_number_is_refused(tmp_path: Path, dtype: str, value: float) -> None:
    def bad(count: int) -> NDArray[np.float16]:
        found = some(count)
        found[K // BLOCKS[dtype][0] * 3 + 1] = value
        return found

    checkpoint = holding(tmp_path, dtype, random_blocks(dtype, bad))
    with pytest.raises(CheckpointError, match=r"in block 1 of row 3; a scale is finite") as refusal:
        linear_weights(checkpoint, NAME, N, K, Scheme.FLOAT).values.read_rows(0, N)
    assert "`blk.0.ffn_gate.weight`" in str(refusal.value)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf], ids=str)
def test_a_scale_of_i2_s_that_is_no_number_above_zero_is_refused(
    tmp_path: Path, value: float
) -> None:
    data = bytes(N * K // 4) + np.float32(value).tobytes() + bytes(28)
    with pytest.raises(CheckpointError, match="a scale is finite and above zero") as refusal:
        read(holding(tmp_path, "I2_S", data))
    assert refusal.value.hint


@pytest.mark.parametrize("kind", [12, 13, 10, 3])
def test_other_quantized_types_are_refused_by_name(tmp_path: Path, kind: int) -> None:
    raw = Raw(kind, (N, K), bytes(64))
    path = write_model(tmp_path / "m.gguf", "qwen3", {"blk.0.ffn_gate.weight": raw})
    with pytest.raises(CheckpointError, match=gguf.GGMLQuantizationType(kind).name) as refusal:
        open_checkpoint(path)
    assert "blk.0.ffn_gate.weight" in str(refusal.value)


def test_a_factor_in_a_tensor_of_its_own_multiplies(tmp_path: Path) -> None:
    data = random_blocks("TQ2_0", lambda count: np.full(count, 1, np.float16))
    tensors = {
        "blk.0.ffn_gate.weight": Raw(35, (N, K), data),
        "blk.0.ffn_gate.scale": Raw(0, (1,), np.float32(0.3).tobytes()),
    }
    found = read(open_checkpoint(write_model(tmp_path / "m.gguf", "bitnet", tensors)))
    assert found.scale is not None
    assert found.scale.read_rows(0, 1)[0, 0] == np.float32(0.3)


def test_a_low_bit_embedding_keeps_its_groups(tmp_path: Path) -> None:
    sizes = Sizes(vocabulary=N, hidden=K)
    data = random_blocks("Q1_0", some)
    path = write_model(
        tmp_path / "m.gguf", "qwen3", {"token_embd.weight": Raw(41, (N, K), data)}, sizes
    )
    found = table_weights(open_checkpoint(path), "model.embed_tokens", N, K)
    assert (found.values.kind, found.group) == (Kind.SIGNS, 128)
    np.testing.assert_array_equal(multiplied(found), plain("Q1_0", data))
