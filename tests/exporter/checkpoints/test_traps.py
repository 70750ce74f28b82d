"""What published ternary files lead their readers into, one test for each trap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.bitnet_of_transformers import (
    AutoBitLinear,
    BitLinear,
    WeightQuant,
    eager,
    pack_weights,
    unpack_weights,
)
from tests.gguf_bytes import (
    Raw,
    Sizes,
    floats,
    gguf_bytes,
    key,
    model_keys,
    typed,
    write_model,
)
from tests.tiny_checkpoint import Stored, stored_floats, write_json, write_safetensors

from bitexport.checkpoints.checkpoint import Checkpoint, open_checkpoint
from bitexport.checkpoints.decode import Scheme, float_vector, linear_weights, table_weights
from bitexport.checkpoints.matrix import Kind
from bitexport.checkpoints.weights import Weights
from bitexport.errors import CheckpointError

RNG = np.random.default_rng(29)
Q = "model.layers.0.self_attn.q_proj"
GATE = "model.layers.0.mlp.gate_proj"


def folder(path: Path, **tensors: Stored) -> Checkpoint:
    """Return an opened folder with one layer, `w`."""
    path.mkdir(exist_ok=True)
    write_json(path / "config.json", {})
    write_safetensors(path / "model.safetensors", {f"w.{k}": v for k, v in tensors.items()})
    return open_checkpoint(path)


def packed(trits: NDArray[Any]) -> Stored:
    """Return trits as transformers packs them; it changes its argument."""
    stored = pack_weights(torch.from_numpy(trits.astype(np.int8))).numpy()
    return Stored("U8", stored.shape, stored.tobytes())


def in_gguf(path: Path, tensors: dict[str, Raw], architecture: str = "qwen3") -> Checkpoint:
    return open_checkpoint(write_model(path / "model.gguf", architecture, tensors))


def gate(path: Path, kind: int, data: bytes, n: int, k: int) -> Weights:
    """Return the decoded weights of one layer of a GGUF."""
    checkpoint = in_gguf(path, {"blk.0.ffn_gate.weight": Raw(kind, (n, k), data)})
    return linear_weights(checkpoint, GATE, n, k, Scheme.UNPACKED)


def values_of(weights: Weights) -> list[list[int]]:
    found: list[list[int]] = weights.values.read_rows(0, weights.values.rows).tolist()
    return found


def half(value: float) -> bytes:
    return np.float16(value).tobytes()


def trits(*shape: int) -> NDArray[np.int8]:
    return RNG.integers(-1, 2, shape).astype(np.int8)


# ---- rounding of masters ------------------------------------------------------------------------


def test_trap_masters_are_rounded_half_to_even_not_up(tmp_path: Path) -> None:
    masters = np.array([[0.5, -0.5, 1.5, -1.5]], np.float32)  # of mean magnitude 1
    found = linear_weights(folder(tmp_path, weight=stored_floats(masters, "F32")), "w", 1, 4,
                           Scheme.ABSMEAN)  # fmt: skip
    assert values_of(found) == [[0, 0, 1, -1]]
    assert np.clip(np.floor(masters + 0.5), -1, 1).tolist() == [[1, 0, 1, -1]]


def test_trap_absmean_is_of_the_tensor_not_of_the_row(tmp_path: Path) -> None:
    masters = (RNG.standard_normal((16, 64)) * np.arange(1, 17)[:, None]).astype(np.float32)
    found = linear_weights(folder(tmp_path, weight=stored_floats(masters, "F32")), "w", 16, 64,
                           Scheme.ABSMEAN)  # fmt: skip
    by_row = np.clip(np.rint(masters / np.abs(masters).mean(1, keepdims=True)), -1, 1)
    assert found.scale is not None
    assert (found.scale.rows, found.scale.columns) == (1, 1)
    assert np.count_nonzero(found.values.read_rows(0, 16) != by_row) > 100


def test_trap_bf16_masters_are_not_the_packed_trits(tmp_path: Path) -> None:
    masters = torch.from_numpy((RNG.standard_normal((256, 256)) * 0.02).astype(np.float32))
    with eager():
        ternary = torch.sign(WeightQuant.apply(masters)).to(torch.int8).numpy()
    released = folder(tmp_path / "packed", weight=packed(ternary.copy()),
                      weight_scale=stored_floats(np.array([0.016]), "BF16"))  # fmt: skip
    bf16 = folder(tmp_path / "bf16", weight=stored_floats(masters.numpy(), "BF16"))
    kept = linear_weights(released, "w", 256, 256, Scheme.MULTIPLIED).values.read_rows(0, 256)
    np.testing.assert_array_equal(kept, ternary)
    again = linear_weights(bf16, "w", 256, 256, Scheme.ABSMEAN).values.read_rows(0, 256)
    assert 0 < np.count_nonzero(again != ternary) < 256 * 256 / 50


def test_trap_masters_are_what_the_tensor_is_whatever_torch_dtype_says(tmp_path: Path) -> None:
    masters = RNG.standard_normal((8, 32)).astype(np.float32)
    folder(tmp_path, weight=stored_floats(masters, "F32"))
    write_json(tmp_path / "config.json", {"torch_dtype": "float16"})
    found = linear_weights(open_checkpoint(tmp_path), "w", 8, 32, Scheme.FLOAT)
    np.testing.assert_array_equal(found.values.read_rows(0, 8), masters)


# ---- packed uint8 -------------------------------------------------------------------------------


def test_trap_packed_lanes_are_rows_apart_not_neighbours(tmp_path: Path) -> None:
    weights = trits(64, 64)
    checkpoint = folder(tmp_path, weight=packed(weights.copy()),
                        weight_scale=stored_floats(np.array([1.0]), "F32"))  # fmt: skip
    found = linear_weights(checkpoint, "w", 64, 64, Scheme.MULTIPLIED).values.read_rows(0, 64)
    np.testing.assert_array_equal(found, weights)
    stored = torch.from_numpy(np.array(checkpoint.tensors["w.weight"].read()))
    with eager():
        theirs = unpack_weights(stored, torch.int8).numpy()
    np.testing.assert_array_equal(found, theirs)
    lanes = stored.numpy()[:, None] >> np.array([0, 2, 4, 6], np.uint8)[:, None] & 3
    neighbours = lanes.reshape(64, 64).astype(np.int8) - 1
    assert np.count_nonzero(neighbours != weights) > 64 * 64 // 2


def test_trap_packed_rows_are_padded_to_fours(tmp_path: Path) -> None:
    weights = trits(1365, 3)
    stored = packed(weights.copy())
    assert stored.shape == (342, 3)
    with eager():
        theirs = unpack_weights(torch.frombuffer(bytearray(stored.data), dtype=torch.uint8)
                                .reshape(342, 3), torch.int8)  # fmt: skip
    assert theirs.shape == (1368, 3)
    checkpoint = folder(tmp_path, weight=stored, weight_scale=stored_floats(np.ones(1), "F32"))
    found = linear_weights(checkpoint, "w", 1365, 3, Scheme.MULTIPLIED)
    np.testing.assert_array_equal(found.values.read_rows(0, 1365), weights)


def test_trap_code_three_never_occurs(tmp_path: Path) -> None:
    bad = Stored("U8", (1, 2), bytes([0b00_01_10_00, 0b00_11_00_00]))
    checkpoint = folder(tmp_path, weight=bad,
                        weight_scale=stored_floats(np.ones(1), "F32"))  # fmt: skip
    weights = linear_weights(checkpoint, "w", 4, 2, Scheme.MULTIPLIED)
    assert weights.values.read_rows(0, 2).shape == (2, 2)
    with pytest.raises(CheckpointError, match=r"code 3 at byte \[0, 1\], lane 2"):
        weights.values.read_rows(2, 3)


@pytest.mark.parametrize("right", [Scheme.DIVIDED, Scheme.MULTIPLIED])
def test_trap_scale_divides_without_linear_class_and_multiplies_with_autobitlinear(
    tmp_path: Path, right: Scheme
) -> None:
    weights, scale = trits(32, 48), 0.25
    x = torch.from_numpy(RNG.standard_normal((1, 48)).astype(np.float32))
    if right is Scheme.DIVIDED:
        layer = BitLinear(48, 32, bias=False, dtype=torch.float32)
        layer.weight = pack_weights(torch.from_numpy(weights.copy()))
    else:
        layer = AutoBitLinear(48, 32, bias=False, online_quant=False)
        layer.weight.data = torch.from_numpy(weights.astype(np.float32))
    layer.weight_scale.copy_(torch.full((1,), scale))
    with eager():
        theirs = layer(x).numpy()
    checkpoint = folder(tmp_path, weight=packed(weights.copy()),
                        weight_scale=stored_floats(np.array([scale]), "BF16"))  # fmt: skip
    steps = 127 / x.abs().max().numpy()
    quantized = np.rint(x.numpy() * steps)
    ours = {}
    for scheme in (Scheme.DIVIDED, Scheme.MULTIPLIED):
        found = linear_weights(checkpoint, "w", 32, 48, scheme)
        assert found.scale is not None
        product = quantized @ found.values.read_rows(0, 32).T.astype(np.float32)
        ours[scheme] = product * found.scale.read_rows(0, 1) / steps
    wrong = ours[Scheme.MULTIPLIED if right is Scheme.DIVIDED else Scheme.DIVIDED]
    np.testing.assert_allclose(ours[right], theirs, rtol=1e-5, atol=1e-6)
    assert not np.allclose(wrong, theirs, rtol=0.5)


def test_trap_one_model_stored_both_ways_has_one_scale(tmp_path: Path) -> None:
    weights, mean = packed(trits(16, 16)), np.float32(0.0173)
    scales = []
    for scheme, stored in ((Scheme.MULTIPLIED, mean), (Scheme.DIVIDED, np.float32(1) / mean)):
        checkpoint = folder(tmp_path / scheme.value, weight=weights,
                            weight_scale=stored_floats(np.array([stored]), "F32"))  # fmt: skip
        found = linear_weights(checkpoint, "w", 16, 16, scheme)
        assert found.scale is not None
        scales.append(found.scale.read_rows(0, 1)[0, 0])
    np.testing.assert_allclose(scales[0], scales[1], rtol=2**-23)


def test_trap_config_of_llama3_has_a_key_twice(tmp_path: Path) -> None:
    folder(tmp_path, weight=packed(trits(4, 4)))
    (tmp_path / "config.json").write_text(
        '{"quantization_config": {"quant_method": "bitnet", "modules_to_not_convert": null, '
        '"modules_to_not_convert": ["lm_head"]}}',
        encoding="utf-8",
    )
    assert open_checkpoint(tmp_path).config["quantization_config"] == {
        "quant_method": "bitnet", "modules_to_not_convert": ["lm_head"],
    }  # fmt: skip


# ---- floats that are ternary already ------------------------------------------------------------


def test_trap_trilm_has_a_scale_for_each_shard(tmp_path: Path) -> None:
    shards = np.array([0.011, 0.013], np.float16).astype(np.float32)
    for name, scale in {
        "columns": shards.repeat(64)[None, :].repeat(32, axis=0),
        "rows": shards.repeat(16)[:, None].repeat(128, axis=1),
    }.items():
        values = trits(32, 128) * scale
        checkpoint = folder(tmp_path / name, weight=stored_floats(values, "F16"))
        found = linear_weights(checkpoint, "w", 32, 128, Scheme.UNPACKED)
        assert found.scale is not None
        held = found.scale.read_rows(0, found.scale.rows)
        expected = shards[:, None] if name == "columns" else shards.repeat(16)[None, :]
        np.testing.assert_array_equal(held, expected)
        assert found.group == (64 if name == "columns" else 0)


def test_trap_unpacked_bonsai_has_a_scale_for_128_columns(tmp_path: Path) -> None:
    scale = RNG.uniform(0.01, 0.05, (8, 4)).astype(np.float16)
    signs = RNG.integers(0, 2, (8, 512)) * 2 - 1
    values = signs * scale.astype(np.float32).repeat(128, axis=1)
    checkpoint = folder(tmp_path, weight=stored_floats(values, "F16"))
    found = linear_weights(checkpoint, "w", 8, 512, Scheme.UNPACKED)
    assert (found.values.kind, found.group) == (Kind.SIGNS, 128)
    assert found.scale is not None
    np.testing.assert_array_equal(found.scale.read_rows(0, 4), scale.T)


# ---- GGUF: what the head says -------------------------------------------------------------------


@pytest.mark.parametrize("file_type", [36, 37, 40, 137])
def test_trap_file_type_is_not_trusted(tmp_path: Path, file_type: int) -> None:
    data = bytes(2 * 128 // 4) + np.float32(0.5).tobytes() + bytes(28)
    keys = model_keys("bitnet-b1.58", Sizes())
    tensors = {
        "token_embd.weight": floats(np.zeros((24, 256)), 1),
        "blk.0.ffn_gate.weight": Raw(36, (2, 128), data),
        "blk.0.ffn_up.weight": Raw(41, (1, 128), half(2) + bytes([255] * 16)),
    }
    path = tmp_path / "m.gguf"
    path.write_bytes(
        gguf_bytes([*keys, key("general.file_type", typed("u32", file_type))], tensors)
    )
    checkpoint = open_checkpoint(path)
    types = checkpoint.config["quantization_config"]["types"]
    assert types[f"{GATE}.weight"] == "I2_S"
    i2_s = linear_weights(checkpoint, GATE, 2, 128, Scheme.UNPACKED)
    assert values_of(i2_s) == [[-1] * 128] * 2
    q1_0 = linear_weights(checkpoint, "model.layers.0.mlp.up_proj", 1, 128, Scheme.UNPACKED)
    assert values_of(q1_0) == [[1] * 128]


@pytest.mark.parametrize(
    ("architecture", "act"), [("bitnet-b1.58", "relu2"), ("bitnet-25", "relu2"), ("bitnet", "silu")]
)
def test_trap_bitnet_of_llama_cpp_is_silu_and_that_of_microsoft_relu2(
    tmp_path: Path, architecture: str, act: str
) -> None:
    assert in_gguf(tmp_path, {}, architecture).config["hidden_act"] == act


def test_trap_the_head_is_tied_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "tied").mkdir()
    assert in_gguf(tmp_path / "tied", {}).config["tie_word_embeddings"] is True
    head = {"output.weight": floats(np.zeros((24, 256)))}
    assert in_gguf(tmp_path, head).config["tie_word_embeddings"] is False


def test_trap_size_of_a_head_is_not_hidden_by_heads(tmp_path: Path) -> None:
    sizes = Sizes(hidden=256, heads=4, head_size=256)
    path = write_model(tmp_path / "m.gguf", "llama", {}, sizes)
    assert open_checkpoint(path).config["head_dim"] == 256


# ---- GGUF: order of rows ------------------------------------------------------------------------


def permute(weights: NDArray[Any], heads: int) -> NDArray[Any]:
    """Return rows as the converter of llama.cpp permutes them (conversion/llama.py, `permute`)."""
    rows = weights.shape[0]
    split = weights.reshape(heads, 2, rows // heads // 2, *weights.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(weights.shape))


def q_and_k(path: Path, architecture: str) -> tuple[dict[str, NDArray[Any]], Checkpoint]:
    """Return weights of q and k, and a file that holds them permuted: 4 heads, 2 of them of k."""
    said: dict[str, NDArray[Any]] = {}
    stored: dict[str, Raw] = {}
    for place, name, heads in (("attn_q", "q_proj", 4), ("attn_k", "k_proj", 2)):
        rows = 64 * heads
        ternary = trits(rows, 256)
        ternary[:, 0] = 1
        bias = np.arange(rows, dtype=np.float32)
        said |= {f"{name}.weight": ternary, f"{name}.bias": bias}
        blocks = gguf.quantize(
            permute(ternary, heads).astype(np.float32), gguf.GGMLQuantizationType.TQ2_0
        )
        stored[f"blk.0.{place}.weight"] = Raw(35, (rows, 256), blocks.tobytes())
        stored[f"blk.0.{place}.bias"] = floats(permute(bias, heads))
    return said, in_gguf(path, stored, architecture)


def test_trap_q_and_k_rows_of_llama_are_permuted(tmp_path: Path) -> None:
    said, checkpoint = q_and_k(tmp_path, "llama")
    for name in ("q_proj", "k_proj"):
        weights, bias = said[f"{name}.weight"], said[f"{name}.bias"]
        where = f"model.layers.0.self_attn.{name}"
        found = linear_weights(checkpoint, where, len(weights), 256, Scheme.UNPACKED)
        np.testing.assert_array_equal(found.values.read_rows(0, len(weights)), weights)
        for start, stop in ((0, 1), (31, 33), (60, 70), (63, 128), (5, 127)):
            np.testing.assert_array_equal(found.values.read_rows(start, stop), weights[start:stop])
        vector = float_vector(checkpoint, f"{where}.bias", len(bias))
        np.testing.assert_array_equal(vector.read_rows(0, len(bias))[:, 0], bias)
        np.testing.assert_array_equal(vector.read_rows(40, 90)[:, 0], bias[40:90])


def test_trap_scales_of_permuted_rows_move_with_them(tmp_path: Path) -> None:
    weights = trits(256, 256) * np.arange(1, 257)[:, None].astype(np.float32)
    weights[:, 0] = np.arange(1, 257)
    blocks = gguf.quantize(permute(weights, 4), gguf.GGMLQuantizationType.TQ2_0)
    raw = Raw(35, (256, 256), blocks.tobytes())
    found = linear_weights(
        in_gguf(tmp_path, {"blk.0.attn_q.weight": raw}, "llama"), Q, 256, 256, Scheme.UNPACKED
    )
    assert found.scale is not None
    assert found.scale.read_rows(0, 1)[0].tolist() == list(range(1, 257))


@pytest.mark.parametrize("architecture", ["bitnet", "bitnet-b1.58", "bitnet-25", "qwen3"])
def test_trap_q_and_k_rows_of_bitnet_and_qwen3_are_not_permuted(
    tmp_path: Path, architecture: str
) -> None:
    said, checkpoint = q_and_k(tmp_path, architecture)
    found = linear_weights(checkpoint, Q, 256, 256, Scheme.UNPACKED)
    as_stored = permute(said["q_proj.weight"], 4)
    np.testing.assert_array_equal(found.values.read_rows(0, 256), as_stored)
    assert (as_stored != said["q_proj.weight"]).any()


# ---- GGUF: block types --------------------------------------------------------------------------


def i2_s(weights: NDArray[np.int8], scale: float) -> bytes:
    """Return trits as microsoft/BitNet packs them: 128 in 32 bytes, the scale behind them."""
    data = bytearray()
    for block in weights.reshape(-1, 128).tolist():
        for p in range(32):
            codes = [block[p + 32 * lane] + 1 for lane in range(4)]
            data.append(codes[0] << 6 | codes[1] << 4 | codes[2] << 2 | codes[3])
    return bytes(data) + np.float32(scale).tobytes() + bytes(28)


def test_trap_i2_s_is_128_weight_blocks(tmp_path: Path) -> None:
    weights = trits(3, 256)
    found = gate(tmp_path, 36, i2_s(weights, 1.5), 3, 256)
    np.testing.assert_array_equal(found.values.read_rows(0, 3), weights)
    in_order = np.frombuffer(i2_s(weights, 1.5)[:192], np.uint8)[:, None] >> np.array([6, 4, 2, 0])
    assert ((in_order & 3).reshape(3, 256) - 1 != weights).any()


def test_trap_i2_s_has_its_scale_behind_the_weights_and_multiplies(tmp_path: Path) -> None:
    found = gate(tmp_path, 36, i2_s(trits(2, 128), 1.2197), 2, 128)
    assert found.scale is not None
    assert found.scale.read_rows(0, 1).tolist() == [[np.float32(1.2197)]]


def test_trap_i2_s_code_three_is_refused(tmp_path: Path) -> None:
    data = bytearray(i2_s(np.zeros((1, 128), np.int8), 1.0))
    data[7] |= 3 << 2
    with pytest.raises(CheckpointError, match=r"code 3 at \[0, 71\], which stands for nothing"):
        gate(tmp_path, 36, bytes(data), 1, 128).values.read_rows(0, 1)


@pytest.mark.parametrize(
    ("kind", "names"),
    [(38, "TL1"), (39, "TL2"), (37, "I8_S"), (143, "PTQ1_0"), (40, "Q1_0 in groups of 32")],
)
def test_trap_types_of_forks_are_refused_by_name(tmp_path: Path, kind: int, names: str) -> None:
    with pytest.raises(CheckpointError, match=names) as refusal:
        gate(tmp_path, kind, bytes(32), 1, 128)
    assert refusal.value.hint


def test_trap_hadamard_rotated_weights_are_refused_by_name(tmp_path: Path) -> None:
    keys = [*model_keys("qwen3", Sizes()), key("prism.hadamard.block_size", typed("u32", 128))]
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes(keys, {"token_embd.weight": floats(np.zeros((24, 256)))}))
    with pytest.raises(CheckpointError, match="Walsh-Hadamard"):
        open_checkpoint(path)


def test_trap_q1_0_bits_begin_with_the_lowest(tmp_path: Path) -> None:
    data = half(0.5) + bytes([0b0000_0101] + [0] * 15)
    assert values_of(gate(tmp_path, 41, data, 1, 128)) == [[1, -1, 1] + [-1] * 125]


def q2_0(codes: NDArray[Any], size: int, d: float = 0.5) -> bytes:
    """Return codes in blocks of 64 or 128."""
    blocks = codes.astype(np.uint8).reshape(-1, size // 4, 4)
    bytes_of = blocks[..., 0] | blocks[..., 1] << 2 | blocks[..., 2] << 4 | blocks[..., 3] << 6
    return b"".join(half(d) + block.tobytes() for block in bytes_of)


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("last", ["padded", "cut"])
def test_trap_q2_0_has_two_block_sizes_under_one_id(tmp_path: Path, size: int, last: str) -> None:
    weights = trits(16, 256)
    raw = Raw(42, (16, 256), q2_0(weights + 1, size))
    path = write_model(tmp_path / "m.gguf", "qwen3", {
        "blk.0.ffn_gate.weight": raw, "blk.0.ffn_up.weight": raw})  # fmt: skip
    if last == "cut":
        path.write_bytes(path.read_bytes()[: -(-len(raw.data) % 32) or None])
    checkpoint = open_checkpoint(path)
    names = {64: "Q2_0", 128: "Q2_0_G128"}
    for name in (GATE, "model.layers.0.mlp.up_proj"):
        assert checkpoint.tensors[f"{name}.weight"].dtype == names[size]
        found = linear_weights(checkpoint, name, 16, 256, Scheme.UNPACKED)
        np.testing.assert_array_equal(found.values.read_rows(0, 16), weights)


def test_trap_q2_0_too_small_to_tell_its_blocks_is_told_by_a_larger_one(tmp_path: Path) -> None:
    small = Raw(42, (1, 128), q2_0(np.ones((1, 128)), 128))  # 34 bytes; as blocks of 64: 36
    with pytest.raises(CheckpointError, match="too small to tell blocks of 64"):
        in_gguf(tmp_path, {"blk.0.ffn_up.weight": small})
    large = Raw(42, (16, 256), q2_0(np.ones((16, 256)), 128))
    found = in_gguf(tmp_path, {"blk.0.ffn_up.weight": small, "blk.0.ffn_gate.weight": large})
    assert found.tensors["model.layers.0.mlp.up_proj.weight"].dtype == "Q2_0_G128"


def test_trap_q2_0_of_neither_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="neither of blocks of 64 weights nor of blocks"):
        gate(tmp_path, 42, bytes(16 * 256 // 4), 16, 256)


@pytest.mark.parametrize(("kind", "size"), [(42, 64), (142, 128)])
def test_trap_code_three_of_q2_0_is_twice_the_scale_and_not_ternary(
    tmp_path: Path, kind: int, size: int
) -> None:
    codes = np.ones((16, 256), np.uint8)
    codes[9, 130] = 3
    found = gate(tmp_path, kind, q2_0(codes, size), 16, 256)
    assert not found.values.read_rows(0, 9).any()
    with pytest.raises(CheckpointError, match=r"code 3 at \[9, 130\].*twice the scale"):
        found.values.read_rows(9, 16)


def test_trap_pq2_0_is_multiplied_by_a_scale_for_128(tmp_path: Path) -> None:
    weights = trits(1, 256)
    data = q2_0(weights[:, :128] + 1, 128, 0.5) + q2_0(weights[:, 128:] + 1, 128, 0.25)
    found = gate(tmp_path, 142, data, 1, 256)
    np.testing.assert_array_equal(found.values.read_rows(0, 1), weights)
    assert found.scale is not None
    assert (found.group, found.scale.read_rows(0, 2).tolist()) == (128, [[0.5], [0.25]])


def test_trap_embedding_and_head_of_bonsai_are_low_bit(tmp_path: Path) -> None:
    data = b"".join(half(d) + bytes([d] * 16) for d in range(1, 49))
    raw = Raw(41, (24, 256), data)
    checkpoint = in_gguf(tmp_path, {"token_embd.weight": raw, "output.weight": raw})
    for name in ("model.embed_tokens", "lm_head"):
        found = table_weights(checkpoint, name, 24, 256)
        assert (found.values.kind, found.group) == (Kind.SIGNS, 128)
        assert found.scale is not None
        assert found.scale.read_rows(0, 2).T.ravel().tolist() == list(range(1, 49))


def test_trap_embeddings_beside_low_bit_layers_are_f16_floats(tmp_path: Path) -> None:
    values = RNG.standard_normal((24, 256)).astype(np.float16)
    found = table_weights(
        in_gguf(tmp_path, {"token_embd.weight": floats(values, 1)}), "model.embed_tokens", 24, 256
    )
    assert (found.values.kind, found.scale) == (Kind.FLOAT16, None)
    np.testing.assert_array_equal(found.values.read_rows(0, 24), values)


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0"])
def test_trap_tq_weights_are_strided_and_the_scale_is_last(tmp_path: Path, kind: str) -> None:
    number = gguf.GGMLQuantizationType[kind]
    weights = trits(4, 512) * np.float32(0.375)
    data = gguf.quantize(weights, number).tobytes()
    assert data[-2:] == half(0.375)
    found = gate(tmp_path, int(number), data, 4, 512)
    assert found.scale is not None
    np.testing.assert_array_equal(
        found.values.read_rows(0, 4) * found.scale.read_rows(0, 1), weights
    )


def test_trap_every_byte_of_tq1_0_has_its_five_trits(tmp_path: Path) -> None:
    blocks = np.zeros((8, 54), np.uint8)
    blocks[:, :32] = np.arange(256, dtype=np.uint8).reshape(8, 32)
    blocks[:, 52:] = np.frombuffer(half(1), np.uint8)
    oracle = gguf.dequantize(blocks, gguf.GGMLQuantizationType.TQ1_0)
    np.testing.assert_array_equal(values_of(gate(tmp_path, 34, blocks.tobytes(), 8, 256)), oracle)


def test_trap_widths_of_5460_fit_no_block_type_and_are_refused(tmp_path: Path) -> None:
    for kind, names in ((34, "TQ1_0"), (35, "TQ2_0"), (36, "I2_S"), (41, "Q1_0")):
        with pytest.raises(CheckpointError, match=f"5460 columns, blocks of {names} hold"):
            gate(tmp_path, kind, bytes(8192), 4, 5460)


def test_trap_config_json_beside_a_gguf_does_not_speak_for_it(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "qwen3", {})
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}), encoding="utf-8")
    assert open_checkpoint(tmp_path).config["model_type"] == "qwen3"
