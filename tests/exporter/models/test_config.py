"""config.json: every key that changes the computation is computed, or refused by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.exporter.models.graphs import build, numbers, ops, refused
from tests.tiny_checkpoint import edit_config, packed, stored_floats
from tests.tiny_families import Tiny, tiny_model, write_family, write_tiny
from transformers import LlamaConfig, Qwen2Config
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.quantizers.quantizers_utils import should_convert_module

from bitexport.checkpoints.decode import Scheme
from bitexport.errors import CheckpointError
from bitexport.models.parts.config import NEUTRAL, Quantization, Said, read_rope
from bitexport.models.parts.rope_tables import powers, scaled

Q_PROJ = "model.layers.0.self_attn.q_proj"


# ---- computations of relatives ---------------------------------------------------------------


@pytest.mark.parametrize("key", NEUTRAL)
def test_a_key_of_another_computation_is_refused(key: str, tmp_path: Path) -> None:
    path = write_family(tmp_path, "llama")
    edit_config(path, **{key: 3})
    refused(path, "config.json", f"`{key}` is `3`")
    for neutral in NEUTRAL[key]:
        edit_config(path, **{key: neutral})
        build(path)


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
@pytest.mark.parametrize(
    "said",
    [
        {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1},
        {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0},
        {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 16,
         "use_sliding_window": True},
    ],
)  # fmt: skip
def test_a_window_is_refused_unless_the_context_fits_into_it(
    family: str, said: dict[str, Any], tmp_path: Path
) -> None:
    path = write_family(tmp_path, family)
    edit_config(path, **said)
    text = refused(path, "`use_sliding_window`", "16 positions")
    assert "--context 16" in text
    refused(path, "`use_sliding_window`", context=17)
    build(path, context=16)


@pytest.mark.parametrize(
    "said",
    [
        {"use_sliding_window": False, "sliding_window": 16, "max_window_layers": 0},
        {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2},
        {"layer_types": ["full_attention", "full_attention"], "sliding_window": 16},
    ],
)
def test_a_window_that_no_layer_has_is_none(said: dict[str, Any], tmp_path: Path) -> None:
    """As `Qwen2Config` derives the kinds of its layers."""
    path = write_family(tmp_path, "qwen2")
    edit_config(path, **said)
    build(path)
    made = Qwen2Config(num_hidden_layers=2, **said)
    assert set(made.layer_types) == {"full_attention"}


def test_an_unknown_kind_of_layer_is_refused(tmp_path: Path) -> None:
    path = write_family(tmp_path, "qwen3")
    edit_config(path, layer_types=["full_attention", "linear_attention"])
    refused(path, "`layer_types` is `linear_attention`")


# ---- biases and norms of projections ---------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "biased"),
    [
        ("attention_bias", ("q_proj", "k_proj", "v_proj", "o_proj")),
        ("mlp_bias", ("gate_proj", "up_proj", "down_proj")),
    ],
)
def test_a_bias_is_added_where_the_config_says_so(
    key: str, biased: tuple[str, ...], tmp_path: Path
) -> None:
    model = tiny_model("llama", biased=biased, **{key: True})
    path = write_tiny(tmp_path / "with", model, "divided")
    plain = write_family(tmp_path / "without", "llama")
    assert ops(path)["Add"] == ops(plain)["Add"] + 2 * len(biased)
    for projection in biased:
        part = "mlp" if key == "mlp_bias" else "self_attn"
        name = f"model.layers.1.{part}.{projection}.bias"
        assert numbers(path, name).ravel().tolist() == model.floats[name].tolist()
    edit_config(path, **{key: False})
    refused(path, "nothing in this family of models computes with", ".bias`")


def with_norms(model: Tiny) -> dict[str, Any]:
    """Return a norm for each projection."""
    return {
        f"{name}.rms_norm.weight": stored_floats(np.full(trits.shape[1], 1.5), "F32")
        for name, trits in model.trits.items()
    }


def test_a_norm_before_each_projection_is_one_quantization_each(tmp_path: Path) -> None:
    model = tiny_model("llama")
    path = write_tiny(
        tmp_path, model, "divided", more=with_norms(model),
        quantization={"use_rms_norm": True, "rms_norm_eps": 1e-3},
    )  # fmt: skip
    found = ops(path)
    assert found["QuantizeRows"] == 14
    assert found["RmsNorm"] == 14 + 5
    epsilons = {
        node.outputs[0].name: node.attributes["epsilon"].value
        for node in build(path)[0].graph
        if node.op_type == "RmsNorm"
    }
    assert epsilons[f"{Q_PROJ}.rms_norm.output"] == 1e-3
    assert epsilons["model.layers.0.input_layernorm.output"] == 1e-5
    edit_config(path, quantization_config={"quant_method": "bitnet"})
    refused(path, "nothing in this family of models computes with", "rms_norm")


# ---- layers that are not converted -----------------------------------------------------------


NAMES = ["lm_head", "model.layers.1.self_attn.q_proj", "model.layers.11.mlp.gate_proj",
         "model.layers.1.mlp.gate", "model.layers.10.mlp.down_proj"]  # fmt: skip


@pytest.mark.parametrize(
    "patterns",
    [["lm_head"], [], ["model.layers.1"], ["model.layers.1."], ["mlp.gate"], ["gate_proj"],
     ["model.layers.*.mlp"], [r"model\.layers\.(1|11)\."], ["proj"], ["layers"], ["q_proj|lm_head"],
     ["model"], [r".*\.down_proj", "head"]],
    ids=str,
)  # fmt: skip
def test_layers_are_kept_as_transformers_keeps_them(patterns: list[str]) -> None:
    found = Quantization(
        scheme=Scheme.DIVIDED, activations="int8", because="", not_converted=tuple(patterns)
    )
    for name in NAMES:
        assert found.converts(name) == should_convert_module(name, patterns), name


@pytest.mark.parametrize("pattern", ["(?i)lm_head", "mlp.("])
def test_a_pattern_that_is_none_is_refused(pattern: str, tmp_path: Path) -> None:
    path = write_family(tmp_path, "llama")
    quantization = {"quant_method": "bitnet", "modules_to_not_convert": [pattern]}
    edit_config(path, quantization_config=quantization)
    refused(path, "`quantization_config.modules_to_not_convert` holds", "which is no pattern")


@pytest.mark.parametrize("types", [[], "F32", {}])
def test_a_folder_is_no_gguf_because_it_says_so(types: object, tmp_path: Path) -> None:
    path = write_family(tmp_path, "llama")
    edit_config(path, quantization_config={"quant_method": "gguf", "types": types})
    refused(path, "`quantization_config.quant_method` is `gguf`")


def mixed(folder: Path, *, kept: list[str] | None) -> Path:
    """Write a model whose second MLP is float."""
    model = tiny_model("llama")
    draw = np.random.default_rng(2)
    more = {
        f"{name}.weight": stored_floats(draw.standard_normal(trits.shape), "BF16")
        for name, trits in model.trits.items()
        if name.startswith("model.layers.1.mlp.")
    }
    small = {name: t for name, t in model.trits.items() if f"{name}.weight" not in more}
    less = Tiny(config=model.config, trits=small, scales=model.scales, floats=model.floats)
    return write_tiny(
        folder, less, "divided", more=more, quantization={"modules_to_not_convert": kept}
    )


def test_a_layer_that_is_not_converted_stays_what_it_is(tmp_path: Path) -> None:
    path = mixed(tmp_path, kept=["lm_head", "model.layers.1.mlp"])
    found = ops(path)
    assert (found["TernaryMatMul"], found["DenseMatMulBf16"]) == (11, 3)
    assert found["DenseMatMulF32"] == 1
    assert "model.layers.1.mlp.up_proj.weight_scale" not in build(path)[0].graph.initializers


def test_a_float_layer_that_the_config_converts_is_refused(tmp_path: Path) -> None:
    refused(mixed(tmp_path, kept=None), "`model.layers.1.mlp.gate_proj.weight_scale` is missing")


def test_a_model_that_keeps_every_layer_is_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path, tiny_model("llama"), "float")
    quantization = {"quant_method": "bitnet", "modules_to_not_convert": ["model", "lm_head"]}
    edit_config(path, quantization_config=quantization)
    refused(path, "config.json", "every layer is kept as floats")


def test_a_head_that_is_converted_is_a_layer_like_the_others(tmp_path: Path) -> None:
    model = tiny_model("llama")
    trits = np.random.default_rng(3).integers(-1, 2, (96, 64)).astype(np.int8)
    path = write_tiny(
        tmp_path, model, "divided", quantization={"modules_to_not_convert": ["nothing"]},
        more={"lm_head.weight": packed(trits),
              "lm_head.weight_scale": stored_floats(np.array([4.0]), "F32")},
    )  # fmt: skip
    np.testing.assert_array_equal(numbers(path, "lm_head.weight"), trits)
    assert numbers(path, "lm_head.weight_scale").item() == 0.25
    assert ops(path)["TernaryMatMul"] == 15
    assert build(path)[0].graph.outputs[0].name == "logits"


def test_a_tied_head_that_is_converted_is_refused(tmp_path: Path) -> None:
    path = write_tiny(
        tmp_path, tiny_model("llama", tied=True), "online",
        quantization={"modules_to_not_convert": ["nothing"]},
    )  # fmt: skip
    refused(path, "`quantization_config.modules_to_not_convert` does not name `lm_head`")


# ---- rope ------------------------------------------------------------------------------------


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}  # fmt: skip
SPELLINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "theta_outside": {"rope_theta": 500000.0},
    "theta_inside": {"rope_theta": 500000.0, "rope_parameters": {"rope_theta": 20000.0}},
    "default_said": {"rope_parameters": {"rope_type": "default", "rope_theta": 30000.0}},
    "linear_old": {"rope_theta": 500000.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
    "linear_new": {"rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 1e5}},
    "both_types": {"rope_scaling": {"rope_type": "linear", "type": "yarn", "factor": 2.0}},
    "old_over_new": {"rope_scaling": {"type": "linear", "factor": 2.0},
                     "rope_parameters": {"rope_type": "default", "rope_theta": 7e4}},
    "llama3_old": {"rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", **LLAMA3}},
    "llama3_new": {"rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, **LLAMA3}},
    "llama3_outer_original": {
        "original_max_position_embeddings": 16,
        "rope_scaling": {"rope_type": "llama3", **LLAMA3}},
    "yarn": {"rope_scaling": {"type": "yarn", "factor": 4.0,
                              "original_max_position_embeddings": 16}},
    "yarn_betas": {"rope_parameters": {
        "rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "beta_fast": 16, "beta_slow": 2,
        "original_max_position_embeddings": 16, "truncate": False}},
    "yarn_attention": {"rope_scaling": {"type": "yarn", "factor": 4.0, "attention_factor": 1.5,
                                        "original_max_position_embeddings": 16}},
    "yarn_mscale": {"rope_scaling": {"type": "yarn", "factor": 4.0, "mscale": 0.7,
                                     "mscale_all_dim": 1.3,
                                     "original_max_position_embeddings": 16}},
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_both_spellings_of_rope_are_read_as_transformers_reads_them(spelling: str) -> None:
    said = {"max_position_embeddings": 64, **SPELLINGS[spelling]}
    rope = read_rope(Said(Path("config.json"), said), 64, 10000.0)
    module = LlamaRotaryEmbedding(
        LlamaConfig(hidden_size=256, num_attention_heads=4, **said)  # heads of 64
    )
    of_torch = rope.base ** (torch.arange(0, 64, 2, dtype=torch.float) / 64)
    assert scaled(rope, of_torch.numpy()).tobytes() == module.inv_freq.numpy().tobytes()
    assert np.float32(rope.attention) == np.float32(module.attention_scaling)
    assert np.all(np.abs(powers(64, rope.base) / of_torch.numpy() - 1) < 2**-22)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "`rope_scaling.type` is `dynamic`"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "`rope_parameters.rope_type` is `longr"),
        ({"rope_parameters": {"rope_type": "proportional"}}, "is `proportional`"),
        ({"rope_scaling": {"type": "linear"}}, "`rope_scaling.factor` is None"),
        ({"rope_scaling": {"type": "linear", "factor": -2}}, "`rope_scaling.factor` is -2"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}, "low_freq_factor"),
        ({"rope_scaling": {"rope_type": "llama3", **LLAMA3, "high_freq_factor": 1.0}}, "not below"),
        ({"partial_rotary_factor": 0.5}, "`partial_rotary_factor` is `0.5`"),
        ({"rope_parameters": {"partial_rotary_factor": 0.25}}, "partial_rotary_factor"),
        ({"rope_parameters": {"mrope_section": [2, 3, 3]}}, "`rope_parameters.mrope_section`"),
        ({"rope_parameters": {"full_attention": {}}}, "`rope_parameters.full_attention`"),
        ({"rope_parameters": {"rope_theta": None}}, "`rope_parameters.rope_theta` is None"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0}, "rope_theta": 1.0}, "more than 1"),
        ({"rope_scaling": ["linear"]}, "`rope_scaling` is `['linear']`"),
    ],
)
def test_another_rotation_is_refused_by_name(said: dict[str, Any], name: str) -> None:
    with pytest.raises(CheckpointError) as refusal:
        read_rope(Said(Path("config.json"), said), 64, 10000.0)
    assert name in str(refusal.value)
    assert refusal.value.hint
