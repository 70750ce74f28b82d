"""Packed trits are, row by row, the trits that were packed; a scale is a number above zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.bitnet_of_transformers import pack_weights
from tests.tiny_checkpoint import (
    Checkpoint,
    Stored,
    read_safetensors,
    replace_tensor,
    stored_floats,
    write_json,
    write_safetensors,
)

from bitexport.checkpoints.checkpoint import open_checkpoint
from bitexport.checkpoints.packed_trits import packed_trits, weight_scale
from bitexport.errors import CheckpointError

NAME = "model.layers.0.self_attn.q_proj"


def test_packed_trits_are_those_of_a_plain_decode(each: Checkpoint) -> None:
    opened = open_checkpoint(each.path)
    stored = read_safetensors(each.path / "model.safetensors")
    for name, (n, k) in each.shape.matrices().items():
        data = stored[f"{name}.weight"].data
        plain = [
            [(data[row % (n // 4) * k + i] >> 2 * (row // (n // 4)) & 3) - 1 for i in range(k)]
            for row in range(n)
        ]
        trits = packed_trits(opened, name, n, k).read_rows(0, n)
        assert trits.tolist() == plain
        np.testing.assert_array_equal(trits, each.trits[name])


def test_rows_read_in_any_order_and_block_are_the_whole(each: Checkpoint) -> None:
    opened = open_checkpoint(each.path)
    n, k = each.shape.matrices()[NAME]
    matrix, whole = packed_trits(opened, NAME, n, k), each.trits[NAME]
    pairs = [(start, stop) for start in range(n) for stop in range(start + 1, n + 1)]
    np.random.default_rng(2).shuffle(pairs)
    for start, stop in pairs[:400]:
        np.testing.assert_array_equal(matrix.read_rows(start, stop), whole[start:stop])


@pytest.mark.parametrize("lane", range(4))
def test_the_fourth_code_is_refused_with_its_place(
    broken: Path, tiny: Checkpoint, lane: int
) -> None:
    stored = read_safetensors(broken / "model.safetensors")[f"{NAME}.weight"]
    data = bytearray(stored.data)
    data[3 * 64 + 5] |= 3 << 2 * lane
    replace_tensor(broken, f"{NAME}.weight", Stored("U8", stored.shape, bytes(data)))
    matrix = packed_trits(open_checkpoint(broken), NAME, 64, 64)
    with pytest.raises(CheckpointError) as refusal:
        matrix.read_rows(0, 64)
    assert f"{broken}/model.safetensors: `{NAME}.weight`" in str(refusal.value)
    assert f"code 3 at byte [3, 5], lane {lane}" in str(refusal.value)
    assert refusal.value.hint


@pytest.mark.parametrize("n", range(1, 14))
def test_rows_that_do_not_come_in_fours_are_those_of_transformers(tmp_path: Path, n: int) -> None:
    trits = np.random.default_rng(n).integers(-1, 2, (n, 6)).astype(np.int8)
    stored = pack_weights(torch.from_numpy(trits.copy())).numpy()
    data = {"w.weight": Stored("U8", stored.shape, stored.tobytes())}
    write_safetensors(tmp_path / "model.safetensors", data)
    write_json(tmp_path / "config.json", {})
    matrix = packed_trits(open_checkpoint(tmp_path), "w", n, 6)
    for start in range(n):
        for stop in range(start + 1, n + 1):
            np.testing.assert_array_equal(matrix.read_rows(start, stop), trits[start:stop])


def test_weights_where_no_row_is_promised_are_refused(tiny: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match="holds weights in row 62") as refusal:
        packed_trits(open_checkpoint(tiny.path), NAME, 62, 64)
    assert refusal.value.hint


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("value", [2.0**-10, 0.0123, 1.0, 40.0])
def test_a_scale_is_the_number_that_is_stored(broken: Path, dtype: str, value: float) -> None:
    stored = stored_floats(np.array([value]), dtype)
    replace_tensor(broken, f"{NAME}.weight_scale", stored)
    kind = {"F16": "<f2", "F32": "<f4"}
    plain = (
        np.frombuffer(b"\0\0" + stored.data, "<f4")
        if dtype == "BF16"
        else np.frombuffer(stored.data, kind[dtype])
    )
    scale = weight_scale(open_checkpoint(broken), NAME)
    assert scale.dtype == np.float32
    assert scale == plain[0]


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("value", [0.0, -0.0, -1.0, np.nan, np.inf, -np.inf], ids=str)
def test_a_scale_that_is_no_number_above_zero_is_refused(
    broken: Path, dtype: str, value: float
) -> None:
    replace_tensor(broken, f"{NAME}.weight_scale", stored_floats(np.array([value]), dtype))
    with pytest.raises(CheckpointError) as refusal:
        weight_scale(open_checkpoint(broken), NAME)
    assert f"model.safetensors: `{NAME}.weight_scale` is" in str(refusal.value)
    assert refusal.value.hint


def test_a_scale_of_another_shape_is_refused(broken: Path) -> None:
    replace_tensor(broken, f"{NAME}.weight_scale", stored_floats(np.ones(2), "BF16"))
    with pytest.raises(CheckpointError, match=r"has shape \[2\], config.json promises \[1\]"):
        weight_scale(open_checkpoint(broken), NAME)
