"""A layer's weights are what its own implementation multiplies with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.bitnet_of_transformers import WeightQuant, eager, pack_weights
from tests.tiny_checkpoint import Stored, stored_floats, write_json, write_safetensors

from bitexport.checkpoints import matrix as matrix_module
from bitexport.checkpoints.checkpoint import Checkpoint, open_checkpoint
from bitexport.checkpoints.decode import Scheme, float_vector, linear_weights, table_weights
from bitexport.checkpoints.matrix import Kind
from bitexport.checkpoints.weights import Weights
from bitexport.errors import CheckpointError

RNG = np.random.default_rng(17)


def folder(path: Path, **tensors: Stored) -> Checkpoint:
    """Return an opened folder that holds these; `weight` is layer `w`'s."""
    path.mkdir(exist_ok=True)
    write_json(path / "config.json", {})
    write_safetensors(path / "model.safetensors", {f"w.{k}": v for k, v in tensors.items()})
    return open_checkpoint(path)


def dense(weights: Weights) -> NDArray[np.float32]:
    """Return values times scales."""
    values = weights.values.floats(0, weights.values.rows)
    if weights.scale is None:
        return values
    n, k = values.shape
    group = weights.group or k
    scale = weights.scale.floats(0, weights.scale.rows)
    wide = np.broadcast_to(scale, (-(-k // group), scale.shape[1])).repeat(group, axis=0)[:k]
    return values * np.broadcast_to(wide.T, (n, k))


def unpacked(path: Path, values: NDArray[Any], dtype: str = "F16") -> Weights:
    n, k = values.shape
    checkpoint = folder(path, weight=stored_floats(values, dtype))
    return linear_weights(checkpoint, "w", n, k, Scheme.UNPACKED)


def trained(n: int, k: int) -> NDArray[np.float32]:
    """Return weights as training leaves them: bells of unlike width in every row."""
    return (RNG.standard_normal((n, k)) * np.exp(RNG.normal(-4, 0.5, (n, 1)))).astype(np.float32)


# ---- packed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_packed_weights_have_one_scale_that_multiplies_or_divides(
    tmp_path: Path, dtype: str
) -> None:
    trits = RNG.integers(-1, 2, (10, 7)).astype(np.int8)
    packed = pack_weights(torch.from_numpy(trits.copy())).numpy()
    weight = Stored("U8", packed.shape, packed.tobytes())
    scale = stored_floats(np.array([1.9375]), dtype)
    checkpoint = folder(tmp_path, weight=weight, weight_scale=scale)
    for scheme, factor in (
        (Scheme.MULTIPLIED, np.float32(1.9375)),
        (Scheme.DIVIDED, np.float32(1) / np.float32(1.9375)),
    ):
        found = linear_weights(checkpoint, "w", 10, 7, scheme)
        assert (found.values.kind, found.group) == (Kind.TRITS, 0)
        np.testing.assert_array_equal(found.values.read_rows(0, 10), trits)
        assert found.scale is not None
        assert found.scale.kind is Kind.FLOAT
        assert found.scale.read_rows(0, 1).tolist() == [[factor]]


@pytest.mark.parametrize("scheme", [Scheme.MULTIPLIED, Scheme.DIVIDED])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf], ids=str)
def test_a_packed_scale_that_is_no_number_above_zero_is_refused(
    tmp_path: Path, scheme: Scheme, value: float
) -> None:
    weight = Stored("U8", (1, 4), bytes(4))
    scale = stored_floats(np.array([value]), "F32")
    checkpoint = folder(tmp_path, weight=weight, weight_scale=scale)
    with pytest.raises(CheckpointError, match="a scale is finite and above zero"):
        linear_weights(checkpoint, "w", 4, 4, scheme)


def test_floats_are_no_packed_weights_nor_the_other_way_round(tmp_path: Path) -> None:
    scale = stored_floats(np.array([1.0]), "F32")
    floats = folder(
        tmp_path / "f", weight=stored_floats(np.ones((4, 4)), "F32"), weight_scale=scale
    )
    with pytest.raises(CheckpointError, match="is F32, expected U8"):
        linear_weights(floats, "w", 4, 4, Scheme.MULTIPLIED)
    packed = folder(tmp_path / "p", weight=Stored("U8", (4, 4), bytes(16)))
    for scheme in (Scheme.ABSMEAN, Scheme.UNPACKED, Scheme.FLOAT):
        with pytest.raises(CheckpointError, match="holds packed trits where floats are expected"):
            linear_weights(packed, "w", 16, 4, scheme)


# ---- absmean -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
@pytest.mark.parametrize("shape", [(96, 320), (33, 1365), (512, 512)])
def test_absmean_is_weight_quant_of_transformers(
    tmp_path: Path, dtype: str, shape: tuple[int, int]
) -> None:
    stored = stored_floats(trained(*shape), dtype)
    checkpoint = folder(tmp_path, weight=stored)
    found = linear_weights(checkpoint, "w", *shape, Scheme.ABSMEAN)
    floats = torch.from_numpy(
        table_weights(checkpoint, "w", *shape).values.floats(0, shape[0]).copy()
    )
    with eager():
        theirs = WeightQuant.apply(floats).numpy()
    assert found.scale is not None
    scale = found.scale.read_rows(0, 1)[0, 0]
    trits = found.values.read_rows(0, shape[0])
    assert np.count_nonzero(trits != np.sign(theirs)) == 0
    np.testing.assert_allclose(np.abs(theirs).max(), scale, rtol=2**-22)
    assert 0.2 < np.mean(trits == 0) < 0.6


def test_absmean_does_not_depend_on_the_blocks_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = folder(tmp_path, weight=stored_floats(trained(64, 100), "F32"))
    whole = dense(linear_weights(checkpoint, "w", 64, 100, Scheme.ABSMEAN))
    monkeypatch.setattr(matrix_module, "BLOCK_BYTES", 1200)
    np.testing.assert_array_equal(
        dense(linear_weights(checkpoint, "w", 64, 100, Scheme.ABSMEAN)), whole
    )


def test_absmean_of_zeros_is_zeros(tmp_path: Path) -> None:
    found = linear_weights(
        folder(tmp_path, weight=stored_floats(np.zeros((4, 8)), "F32")), "w", 4, 8, Scheme.ABSMEAN
    )
    assert not dense(found).any()


# ---- floats that are ternary already -----------------------------------------------------------


def scales_of(name: str, n: int, k: int) -> NDArray[np.float32]:
    """Return a scale for each weight [n, k]."""
    values = np.float16(RNG.uniform(0.01, 0.1, (n, k))).astype(np.float32)
    match name:
        case "tensor":
            return np.broadcast_to(values[:1, :1], (n, k)).copy()
        case "row":
            return np.broadcast_to(values[:, :1], (n, k)).copy()
        case "row_blocks":
            return np.broadcast_to(values[: n // 8, :1].repeat(8, axis=0), (n, k)).copy()
        case "column_shards":
            return np.broadcast_to(values[:1, : k // 192].repeat(192, axis=1), (n, k)).copy()
    size = int(name.removeprefix("groups_"))
    return values[:, : -(-k // size)].repeat(size, axis=1)[:, :k].copy()


STRUCTURES = {
    "tensor": (0, (1, 1)), "row": (0, (1, 32)), "row_blocks": (0, (1, 32)),
    "column_shards": (192, (4, 1)), "groups_128": (128, (6, 32)), "groups_64": (64, (12, 32)),
    "groups_32": (32, (24, 32)),
}  # fmt: skip


@pytest.mark.parametrize("binary", [False, True], ids=["ternary", "binary"])
@pytest.mark.parametrize("dtype", ["F16", "F32", "BF16"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_the_structure_of_unpacked_weights_is_found(
    tmp_path: Path, name: str, dtype: str, binary: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix_module, "BLOCK_BYTES", 20000)
    n, k = 32, 768
    trits = RNG.integers(0, 2, (n, k)) * 2 - 1 if binary else RNG.integers(-1, 2, (n, k))
    scales = scales_of(name, n, k)
    if dtype == "BF16":
        scales = (scales.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    values = trits * scales
    found = unpacked(tmp_path, values, dtype)
    assert found.scale is not None
    shape = (found.scale.rows, found.scale.columns)
    assert (found.group, shape) == STRUCTURES[name]
    assert found.values.kind is (Kind.SIGNS if binary else Kind.TRITS)
    np.testing.assert_array_equal(found.values.read_rows(3, 19), trits[3:19])
    np.testing.assert_array_equal(dense(found), values)
    many = found.group and shape[1] > 1
    assert found.scale.kind is (Kind.FLOAT16 if many and dtype == "F16" else Kind.FLOAT)


def test_one_zero_makes_signs_trits(tmp_path: Path) -> None:
    values = np.full((8, 64), 0.5)
    assert unpacked(tmp_path / "a", values).values.kind is Kind.SIGNS
    values[7, 63] = 0
    assert unpacked(tmp_path / "b", values).values.kind is Kind.TRITS


def test_a_file_written_anew_is_read_anew(tmp_path: Path) -> None:
    for size in (64, 32):
        values = (RNG.integers(0, 2, (32, 768)) * 2 - 1) * scales_of(f"groups_{size}", 32, 768)
        found = unpacked(tmp_path, values)
        assert found.group == size
        np.testing.assert_array_equal(dense(found), values)


def test_scales_of_two_matrices_are_not_confused(tmp_path: Path) -> None:
    values = [RNG.choice([-1, 1], (32, 768)) * scales_of("groups_64", 32, 768) for _ in range(2)]
    found = [unpacked(tmp_path / str(i), matrix) for i, matrix in enumerate(values)]
    for weights, matrix in zip(found, values, strict=True):
        np.testing.assert_array_equal(dense(weights), matrix)


def test_a_short_last_group_is_a_group(tmp_path: Path) -> None:
    values = RNG.integers(-1, 2, (16, 100)) * scales_of("groups_32", 16, 100)
    found = unpacked(tmp_path, values)
    assert found.group == 32
    np.testing.assert_array_equal(dense(found), values)


def test_zeros_only_are_trits_with_some_scale(tmp_path: Path) -> None:
    found = unpacked(tmp_path, np.zeros((8, 64)))
    assert found.values.kind is Kind.TRITS
    assert not dense(found).any()


def test_floats_that_are_not_ternary_are_refused_with_their_place(tmp_path: Path) -> None:
    values = RNG.integers(-1, 2, (16, 256)) * 0.5
    values[5, 70:73] = 0.25, -0.125, 0.75
    with pytest.raises(CheckpointError) as refusal:
        unpacked(tmp_path, values)
    assert str(tmp_path / "model.safetensors") in str(refusal.value)
    assert "`w.weight` is not ternary: row 5 has 4 magnitudes in columns 64 to 95" in str(
        refusal.value
    )
    assert "--ternarize absmean" in str(refusal.value.hint)


# ---- floats ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "kind"), [("F32", Kind.FLOAT), ("F16", Kind.FLOAT16), ("BF16", Kind.BFLOAT16)]
)
def test_floats_stay_as_they_are_stored(tmp_path: Path, dtype: str, kind: Kind) -> None:
    stored = stored_floats(RNG.standard_normal((6, 10)), dtype)
    checkpoint = folder(tmp_path, weight=stored)
    for found in (
        linear_weights(checkpoint, "w", 6, 10, Scheme.FLOAT),
        table_weights(checkpoint, "w", 6, 10),
    ):
        assert (found.values.kind, found.scale, found.is_float) == (kind, None, True)
        assert found.values.read_rows(0, 6).tobytes() == stored.data


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_a_vector_is_a_column_of_float32(tmp_path: Path, dtype: str) -> None:
    stored = stored_floats(RNG.standard_normal(9), dtype)
    found = float_vector(folder(tmp_path, bias=stored), "w.bias", 9)
    assert (found.kind, found.rows, found.columns) == (Kind.FLOAT, 9, 1)
    rows = found.read_rows(2, 7)
    assert rows.dtype == np.float32
    assert rows.shape == (5, 1)
    whole = found.read_rows(0, 9)[:, 0]
    assert stored_floats(whole, dtype).data == stored.data


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_a_float_that_is_no_number_is_refused_with_its_place(
    tmp_path: Path, dtype: str, value: float
) -> None:
    values = np.ones((6, 32), np.float32)
    values[4, 3] = value
    checkpoint = folder(tmp_path, weight=stored_floats(values, dtype))
    for scheme in (Scheme.FLOAT, Scheme.ABSMEAN, Scheme.UNPACKED):
        with pytest.raises(CheckpointError, match=r"a NaN or an infinity at \[4, 3\]"):
            linear_weights(checkpoint, "w", 6, 32, scheme).values.read_rows(0, 6)
