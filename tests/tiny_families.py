"""Tiny random checkpoints of every family, in every way that its weights may be stored.

Scales are powers of two: what one way divides by, another multiplies with, to the same bits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tests.tiny_checkpoint import (
    Stored,
    packed,
    stored_floats,
    write_json,
    write_safetensors,
    write_tokenizer,
)

Way = Literal["divided", "multiplied", "online", "unpacked", "masters", "float"]

QUANTIZATION: Mapping[str, dict[str, Any]] = {
    "divided": {"quant_method": "bitnet"},
    "multiplied": {
        "quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline",
    },
    "online": {
        "quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online",
    },
}  # fmt: skip
ARCHITECTURES: Mapping[str, tuple[str, str, str]] = {
    "bitnet": ("bitnet", "BitNetForCausalLM", "relu2"),
    "bitnet_llama": ("llama", "BitnetForCausalLM", "silu"),
    "llama": ("llama", "LlamaForCausalLM", "silu"),
    "qwen2": ("qwen2", "Qwen2ForCausalLM", "silu"),
    "qwen3": ("qwen3", "Qwen3ForCausalLM", "silu"),
}
SUB_NORMS: Mapping[str, tuple[str, str]] = {
    "bitnet": ("attn_sub_norm", "ffn_sub_norm"),
    "bitnet_llama": ("inner_attn_ln", "ffn_layernorm"),
}
USUAL: Mapping[str, Way] = {
    "bitnet": "multiplied", "bitnet_llama": "masters", "llama": "divided", "qwen2": "online",
    "qwen3": "unpacked",
}  # fmt: skip
"""How the published models of a family are stored."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiny:
    """A model: what config.json says, and its numbers by the names of transformers."""

    config: Mapping[str, Any]
    trits: Mapping[str, NDArray[np.int8]]
    scales: Mapping[str, float]
    """What the trits of a matrix are multiplied with."""
    floats: Mapping[str, NDArray[np.float32]]


def tiny_model(
    family: str, *, seed: int = 1, hidden: int = 64, inner: int = 96, layers: int = 2,
    heads: int = 4, kv_heads: int = 2, head_size: int = 16, vocabulary: int = 96,
    tied: bool = False, binary: bool = False, biased: tuple[str, ...] | None = None, **config: Any,
) -> Tiny:  # fmt: skip
    """Return a random model of a family; `config` adds keys or changes them."""
    draw = np.random.default_rng(seed)
    model_type, architecture, activation = ARCHITECTURES[family]
    said: dict[str, Any] = {
        "architectures": [architecture], "model_type": model_type, "_name_or_path": "tiny",
        "hidden_act": activation, "hidden_size": hidden, "intermediate_size": inner,
        "max_position_embeddings": 64, "num_attention_heads": heads, "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads, "head_dim": head_size, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": tied, "vocab_size": vocabulary,
        "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    width, kv_width = heads * head_size, kv_heads * head_size
    sizes = {
        "self_attn.q_proj": (width, hidden), "self_attn.k_proj": (kv_width, hidden),
        "self_attn.v_proj": (kv_width, hidden), "self_attn.o_proj": (hidden, width),
        "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }  # fmt: skip
    norms = {"input_layernorm": hidden, "post_attention_layernorm": hidden}
    if family in SUB_NORMS:
        attention, mlp = SUB_NORMS[family]
        norms |= {f"self_attn.{attention}": width, f"mlp.{mlp}": inner}
    if family == "qwen3":
        norms |= {"self_attn.q_norm": head_size, "self_attn.k_norm": head_size}
    if biased is None:
        biased = ("q_proj", "k_proj", "v_proj") if family == "qwen2" else ()
    trits: dict[str, NDArray[np.int8]] = {}
    scales: dict[str, float] = {}
    floats: dict[str, NDArray[np.float32]] = {
        "model.embed_tokens.weight": 0.3 * draw.standard_normal((vocabulary, hidden)),
        "model.norm.weight": 1 + 0.1 * draw.standard_normal(hidden),
    }
    if not tied:
        floats["lm_head.weight"] = 0.3 * draw.standard_normal((vocabulary, hidden))
    for layer in range(layers):
        name = f"model.layers.{layer}"
        for norm, columns in norms.items():
            floats[f"{name}.{norm}.weight"] = 1 + 0.1 * draw.standard_normal(columns)
        for matrix, (n, k) in sizes.items():
            drawn = 2 * draw.integers(0, 2, (n, k)) - 1 if binary else draw.integers(-1, 2, (n, k))
            trits[f"{name}.{matrix}"] = drawn.astype(np.int8)
            scales[f"{name}.{matrix}"] = 2.0 ** -int(draw.integers(3, 5))
            if matrix.rpartition(".")[2] in biased:
                floats[f"{name}.{matrix}.bias"] = 0.2 * draw.standard_normal(n)
    kept = {name: values.astype(np.float32) for name, values in floats.items()}
    return Tiny(config=said | config, trits=trits, scales=scales, floats=kept)


def stored_tensors(
    model: Tiny, way: Way, *, dtype: str = "F32", masters: str = "F32"
) -> dict[str, Stored]:
    """Return the tensors of a model, its ternary matrices stored in a way."""
    tensors = {name: stored_floats(values, dtype) for name, values in model.floats.items()}
    draw = np.random.default_rng(7)
    for name, trits in model.trits.items():
        scale = model.scales[name]
        if way in ("divided", "multiplied"):
            stored = 1 / scale if way == "divided" else scale
            tensors[f"{name}.weight"] = packed(trits)
            tensors[f"{name}.weight_scale"] = stored_floats(np.array([stored]), "F32")
        elif way == "float":
            values = scale * draw.standard_normal(trits.shape)
            tensors[f"{name}.weight"] = stored_floats(values, masters)
        else:
            # Masters whose mean magnitude is the scale: what absmean makes of them is known.
            share = 1.0 if way == "unpacked" else float(np.abs(trits).mean())
            tensors[f"{name}.weight"] = stored_floats(trits * scale / share, masters)
    return tensors


def write_tiny(
    folder: Path, model: Tiny, way: Way, *, quantization: Mapping[str, Any] | None = None,
    more: Mapping[str, Stored] | None = None, dtype: str = "F32", masters: str = "F32",
) -> Path:  # fmt: skip
    """Write a checkpoint folder; `quantization` adds keys to what the way says, `more` tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    config = dict(model.config)
    if way in QUANTIZATION:
        config["quantization_config"] = QUANTIZATION[way] | dict(quantization or {})
    write_json(folder / "config.json", config)
    write_tokenizer(folder / "tokenizer.json", config["vocab_size"])
    tensors = stored_tensors(model, way, dtype=dtype, masters=masters) | dict(more or {})
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def write_family(folder: Path, family: str, **changes: Any) -> Path:
    """Write a random model of a family as its published ones are stored."""
    return write_tiny(folder, tiny_model(family, **changes), USUAL[family])
