"""A GGUF file is told as transformers would tell it, or the part without translation is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.gguf_bytes import Raw, Sizes, floats, gguf_bytes, key, model_keys, typed, write_model
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from bitexport.checkpoints.checkpoint import Checkpoint, open_checkpoint
from bitexport.checkpoints.gguf_model import llama3_divisors
from bitexport.errors import CheckpointError

OUTPUT = {"output.weight": floats(np.zeros((24, 256)))}


def opened(folder: Path, architecture: str = "llama", **more: tuple[str, Any]) -> Checkpoint:
    return open_checkpoint(write_model(folder / "m.gguf", architecture, {}, **more))


def refused(folder: Path, *names: str, architecture: str = "llama", **more: Any) -> None:
    """Check that a file with these keys is refused, naming it and these, with a hint."""
    with pytest.raises(CheckpointError) as refusal:
        opened(folder, architecture, **more)
    for name in (str(folder / "m.gguf"), *names):
        assert name in str(refusal.value)
    assert refusal.value.hint


@pytest.mark.parametrize(
    ("architecture", "kind", "act"),
    [
        ("bitnet-b1.58", "bitnet", "relu2"),
        ("bitnet-25", "bitnet", "relu2"),
        ("bitnet", "bitnet", "silu"),
        ("llama", "llama", "silu"),
        ("qwen3", "qwen3", "silu"),
    ],
)
def test_metadata_becomes_the_keys_of_config_json(
    tmp_path: Path, architecture: str, kind: str, act: str
) -> None:
    found = opened(tmp_path, architecture)
    assert found.container == "gguf"
    assert found.path == found.config_file == tmp_path / "m.gguf"
    config = dict(found.config)
    assert config.pop("quantization_config") == {
        "quant_method": "gguf", "types": {"model.embed_tokens.weight": "F32"},
    }  # fmt: skip
    assert config == {
        "model_type": kind, "hidden_act": act, "hidden_size": 256, "intermediate_size": 512,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
        "rope_scaling": None, "tie_word_embeddings": True, "attention_bias": False,
        "vocab_size": 24, "bos_token_id": 1, "eos_token_id": 2, "_name_or_path": "small",
    }  # fmt: skip
    assert found.metadata["tokenizer.ggml.tokens"][3] == "t3"


def test_every_tensor_of_every_architecture_has_its_name(tmp_path: Path) -> None:
    pairs = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
        "blk.0.attn_norm.weight": "model.layers.0.input_layernorm.weight",
        "blk.0.attn_q.weight": "model.layers.0.self_attn.q_proj.weight",
        "blk.0.attn_q.bias": "model.layers.0.self_attn.q_proj.bias",
        "blk.0.attn_q.scale": "model.layers.0.self_attn.q_proj.weight_scale",
        "blk.0.attn_k.weight": "model.layers.0.self_attn.k_proj.weight",
        "blk.0.attn_v.weight": "model.layers.0.self_attn.v_proj.weight",
        "blk.0.attn_q_norm.weight": "model.layers.0.self_attn.q_norm.weight",
        "blk.0.attn_k_norm.weight": "model.layers.0.self_attn.k_norm.weight",
        "blk.0.attn_sub_norm.weight": "model.layers.0.self_attn.attn_sub_norm.weight",
        "blk.0.attn_output.weight": "model.layers.0.self_attn.o_proj.weight",
        "blk.0.ffn_norm.weight": "model.layers.0.post_attention_layernorm.weight",
        "blk.0.ffn_gate.weight": "model.layers.0.mlp.gate_proj.weight",
        "blk.0.ffn_up.weight": "model.layers.0.mlp.up_proj.weight",
        "blk.0.ffn_sub_norm.weight": "model.layers.0.mlp.ffn_sub_norm.weight",
        "blk.10.ffn_down.weight": "model.layers.10.mlp.down_proj.weight",
    }
    tensors = {name: floats(np.zeros((8, 32))) for name in list(pairs)[1:]}
    found = open_checkpoint(write_model(tmp_path / "m.gguf", "llama", tensors))
    assert {t.stored_as: name for name, t in found.tensors.items()} == pairs
    assert all(tensor.name == name for name, tensor in found.tensors.items())
    assert found.config["tie_word_embeddings"] is False
    assert found.config["attention_bias"] is True
    assert "(`blk.0.attn_q.bias`)" in found.tensors["model.layers.0.self_attn.q_proj.bias"].title


@pytest.mark.parametrize(
    "name", ["blk.0.attn_rot_embd.weight", "blk.0.ffn_gate_inp.weight", "blk.x.attn_q.weight",
             "blk.00.attn_q.weight", "blk.0.attn_q.lora", "token_types.weight", "output"],
)  # fmt: skip
def test_a_tensor_without_translation_is_refused(tmp_path: Path, name: str) -> None:
    path = write_model(tmp_path / "m.gguf", "llama", {name: floats(np.zeros(8))})
    with pytest.raises(CheckpointError, match=f"computes with tensor `{name}`"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"expert_count": ("u32", 8)}, "`llama.expert_count` is 8"),
        ({"attention__sliding_window": ("u32", 64)}, "`llama.attention.sliding_window` is 64"),
        ({"logit_scale": ("f32", 0.5)}, "`llama.logit_scale` is 0.5"),
        ({"novel": ("[f32]", [1.0, 2.0])}, "`llama.novel` is an array of 2 values"),
        ({"block_count": ("u32", 0)}, "`llama.block_count` is 0, expected a whole number"),
        ({"block_count": ("str", "1")}, "`llama.block_count` is '1'"),
        ({"block_count": ("bool", True)}, "`llama.block_count` is True"),
        ({"feed_forward_length": ("[u32]", [512, 256])}, "`llama.feed_forward_length` is an array"),
        ({"attention__value_length": ("u32", 32)}, "expected 64, the size of a head"),
        ({"rope__dimension_count": ("u32", 32)}, "expected 64, the size of a head"),
        ({"attention__layer_norm_rms_epsilon": ("f32", 0.0)}, "expected a number above zero"),
        ({"attention__layer_norm_rms_epsilon": ("f32", float("nan"))}, "a number above zero"),
        ({"rope__scaling__type": ("str", "longrope")}, "expected none, linear or yarn"),
        ({"rope__scaling__type": ("[f32]", [1.0, 2.0])}, "expected none, linear or yarn"),
        ({"rope__scaling__yarn_ext_factor": ("f32", 1.0)}, "expected nothing of it beside"),
        ({"rope__scaling__yarn_ext_factor": ("[f32]", [1.0, 2.0])}, "is an array of 2 values"),
        ({"rope__scaling__attn_factor": ("f32", 0.5)}, "`llama.rope.scaling.attn_factor` is 0.5"),
        ({"vocab_size": ("u32", 25)}, "`llama.vocab_size` is 25, expected 24"),
    ],
    ids=lambda case: next(iter(case)) if isinstance(case, dict) else "",
)
def test_a_key_that_does_not_fit_is_refused(
    tmp_path: Path, more: dict[str, tuple[str, Any]], names: str
) -> None:
    refused(tmp_path, names, **more)


@pytest.mark.parametrize(
    ("kind", "value", "names"),
    [
        ("general.architecture", ("str", "gemma3"), "is `gemma3`, this version reads bitnet-b1.58"),
        ("split.count", ("u16", 3), "one of 3 parts"),
        ("split.count", ("[u32]", [1, 2]), "one of an array of 2 values parts"),
        ("general.type", ("[u32]", [1, 2]), "is an array of 2 values, not a model"),
        ("tokenizer.ggml.eot_token_id", ("[u32]", [1, 2]), "expected the number of a token"),
        ("general.type", ("str", "adapter"), "`general.type` is 'adapter'"),
        ("prism.hadamard.block", ("u32", 128), "`prism.hadamard.block`"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, kind: str, value: tuple[str, Any], names: str
) -> None:
    keys = [k for k in model_keys("llama", Sizes()) if kind.encode() not in k]
    path = tmp_path / "m.gguf"
    table = {"token_embd.weight": floats(np.zeros((24, 256)))}
    path.write_bytes(gguf_bytes([*keys, key(kind, typed(*value))], table))
    with pytest.raises(CheckpointError) as refusal:
        open_checkpoint(path)
    assert names in str(refusal.value)
    assert refusal.value.hint


def test_a_file_without_an_embedding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes(model_keys("llama", Sizes()), OUTPUT))
    with pytest.raises(CheckpointError, match=r"`token_embd\.weight` is missing"):
        open_checkpoint(path)


def test_a_key_that_is_missing_is_named(tmp_path: Path) -> None:
    keys = [k for k in model_keys("llama", Sizes()) if b"block_count" not in k]
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes(keys, {"token_embd.weight": floats(np.zeros((24, 256)))}))
    with pytest.raises(CheckpointError, match=r"the key `llama\.block_count` is missing"):
        open_checkpoint(path)


def test_equal_numbers_of_every_layer_are_one_number(tmp_path: Path) -> None:
    found = opened(tmp_path, feed_forward_length=("[i32]", [512, 512]))
    assert found.config["intermediate_size"] == 512


def test_an_end_of_turn_is_an_end_of_text(tmp_path: Path) -> None:
    keys = [*model_keys("llama", Sizes()), key("tokenizer.ggml.eot_token_id", typed("u32", 9))]
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes(keys, {"token_embd.weight": floats(np.zeros((24, 256)))}))
    assert open_checkpoint(path).config["eos_token_id"] == [2, 9]


# ---- rotation ---------------------------------------------------------------------------------


def test_linear_scaling_by_1_is_none(tmp_path: Path) -> None:
    more = {"rope__scaling__type": ("str", "linear"), "rope__scaling__factor": ("f32", 1.0)}
    assert opened(tmp_path, "bitnet", **more).config["rope_scaling"] is None


def test_linear_and_yarn_scaling_keep_their_numbers(tmp_path: Path) -> None:
    more = {"rope__scaling__type": ("str", "linear"), "rope__scaling__factor": ("f32", 4.0)}
    assert opened(tmp_path, **more).config["rope_scaling"] == {"rope_type": "linear", "factor": 4.0}
    more = {
        "rope__scaling__type": ("str", "yarn"), "rope__scaling__factor": ("f32", 4.0),
        "rope__scaling__original_context_length": ("u32", 32),
        "rope__scaling__yarn_beta_fast": ("f32", 16.0),
    }  # fmt: skip
    assert opened(tmp_path, "qwen3", **more).config["rope_scaling"] == {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32,
        "beta_fast": 16.0,
    }  # fmt: skip


def test_a_factor_alone_is_linear_and_one_beside_none_is_nothing(tmp_path: Path) -> None:
    linear = {"rope_type": "linear", "factor": 4.0}
    for name in ("rope__scaling__factor", "rope__scale_linear"):
        factor = {name: ("f32", 4.0)}
        assert opened(tmp_path, **factor).config["rope_scaling"] == linear
        more = {**factor, "rope__scaling__type": ("str", "none")}
        assert opened(tmp_path, **more).config["rope_scaling"] is None


def with_factors(folder: Path, values: np.ndarray[Any, Any], **more: tuple[str, Any]) -> Checkpoint:
    tensors = {"rope_freqs.weight": floats(values)}
    return open_checkpoint(write_model(folder / "m.gguf", "llama", tensors, **more))


def test_divisors_beside_a_factor_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected none beside the tensor"):
        with_factors(tmp_path, np.ones(32), rope__scaling__factor=("f32", 4.0))


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_divisors_of_llama_3_become_its_scaling(tmp_path: Path, factor: float) -> None:
    parameters = {
        "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }  # fmt: skip
    config = LlamaConfig(
        hidden_size=256, num_attention_heads=4, head_dim=64,
        rope_parameters={**parameters, "rope_theta": 500000.0},
    )  # fmt: skip
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 1 / 500000.0 ** (np.arange(0, 64, 2) / 64)
    divisors = (plain / scaled.double().numpy()).astype(np.float32)
    found = with_factors(tmp_path, divisors)
    assert found.config["rope_scaling"] == parameters
    assert "rope_freqs.weight" not in {tensor.stored_as for tensor in found.tensors.values()}
    np.testing.assert_allclose(llama3_divisors(500000.0, 64, factor), divisors, rtol=1e-6)


def test_divisors_of_1_are_no_scaling(tmp_path: Path) -> None:
    assert with_factors(tmp_path, np.ones(32)).config["rope_scaling"] is None


@pytest.mark.parametrize("bad", [np.linspace(1, 8, 32), np.full(32, np.nan), np.full(32, 8.0)])
def test_other_divisors_are_refused(tmp_path: Path, bad: np.ndarray[Any, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"`rope_freqs\.weight` holds other divisors"):
        with_factors(tmp_path, bad)


def test_divisors_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"`rope_freqs\.weight` is F32 \[16\]"):
        with_factors(tmp_path, np.ones(16))


def test_rows_that_heads_cannot_share_are_refused(tmp_path: Path) -> None:
    tensors = {"blk.0.attn_q.weight": Raw(0, (12, 8), bytes(384))}
    with pytest.raises(CheckpointError, match=r"has 12 rows, which 4 heads"):
        open_checkpoint(write_model(tmp_path / "m.gguf", "llama", tensors))
