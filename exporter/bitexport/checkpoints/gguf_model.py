"""What a GGUF file says, told as transformers tells it: config.json, names, order of rows.

Everything comes from the architecture, its keys and the tensors themselves.  `general.file_type` is
never read: 40 is I2_S to one writer and Q1_0 to another.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitexport.checkpoints.gguf_file import GgufFile
from bitexport.checkpoints.stored_tensor import StoredTensor
from bitexport.errors import CheckpointError

ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    "bitnet-b1.58": {"model_type": "bitnet", "hidden_act": "relu2"},
    "bitnet-25": {"model_type": "bitnet", "hidden_act": "relu2"},
    "bitnet": {"model_type": "bitnet", "hidden_act": "silu"},
    "llama": {"model_type": "llama", "hidden_act": "silu"},
    "qwen3": {"model_type": "qwen3", "hidden_act": "silu"},
}
PERMUTED = ("llama",)
"""Architectures whose q and k rows llama.cpp interleaves, two halves of a head, for its RoPE."""

SIZES: Mapping[str, str] = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
}
READ = {
    *SIZES, "vocab_size", "attention.head_count_kv", "attention.key_length",
    "attention.value_length", "attention.layer_norm_rms_epsilon", "rope.freq_base",
    "rope.dimension_count", "rope.scaling.type", "rope.scaling.factor", "rope.scale_linear",
    "rope.scaling.original_context_length", "rope.scaling.finetuned", "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow", "rope.scaling.yarn_ext_factor", "tensor_data_layout",
}  # fmt: skip
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "attention.causal": (True,), "expert_count": (0,), "expert_used_count": (0,),
    "use_parallel_residual": (False,), "rope.scaling.attn_factor": (1.0,),
    "rope.scaling.yarn_attn_factor": (1.0,),
    "attention.sliding_window": (0,), "attention.clamp_kqv": (0.0,), "logit_scale": (0.0, 1.0),
    "embedding_scale": (1.0,), "residual_scale": (1.0,), "attention.scale": (0.0,),
}  # fmt: skip
"""Keys that change nothing with these values."""

NAMES: Mapping[str, str] = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
LAYER_NAMES: Mapping[str, str] = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_sub_norm": "self_attn.attn_sub_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_sub_norm": "mlp.ffn_sub_norm",
    "ffn_down": "mlp.down_proj",
}
PARTS: Mapping[str, str] = {"weight": "weight", "bias": "bias", "scale": "weight_scale"}
IN_LAYER = re.compile(r"blk\.(0|[1-9]\d*)\.(\w+)\.(\w+)")
FREQUENCIES = "rope_freqs.weight"
LLAMA3_CONTEXT = 8192
"""Positions before the scaling of Llama 3, which every published model of that kind has."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A GGUF file in the words of transformers."""

    config: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]


def translate(file: GgufFile) -> Model:
    """Return configuration and tensors of a file, or say which part of it has no translation."""
    said, path = file.metadata, file.path
    architecture = str(said.get("general.architecture"))
    hadamard = min((key for key in said if key.startswith("prism.hadamard")), default=None)
    if hadamard:
        raise CheckpointError(
            f"{path}: `{hadamard}` says that its weights lie in a Walsh-Hadamard rotated basis; "
            "this version does not compute in it",
            hint="export from the unpacked safetensors of the model",
        )
    if architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"{path}: `general.architecture` is `{architecture}`, this version reads "
            + ", ".join(ARCHITECTURES),
            hint="another architecture is another computation; it is refused, never approximated",
        )
    parts, kind = said.get("split.count", 1), said.get("general.type", "model")
    if type(parts) is not int or parts != 1:
        raise CheckpointError(
            f"{path}: one of {_shown(parts)} parts of a model",
            hint="join them: llama-gguf-split --merge FIRST_PART OUTPUT",
        )
    if not isinstance(kind, str) or kind != "model":
        raise CheckpointError(
            f"{path}: `general.type` is {_shown(kind)}, not a model",
            hint="give the file of the language model",
        )
    keys = _Keys(file, architecture)
    config = _config(keys, file)
    tensors = _tensors(file, architecture, config)
    config["quantization_config"] = {
        "quant_method": "gguf",
        "types": {name: tensor.dtype for name, tensor in tensors.items()},
    }
    return Model(config, tensors)


class _Keys:
    """The keys of an architecture, each checked when it is read."""

    def __init__(self, file: GgufFile, architecture: str) -> None:
        self.path, self.prefix = file.path, f"{architecture}."
        self.said = {
            key.removeprefix(self.prefix): value
            for key, value in file.metadata.items()
            if key.startswith(self.prefix)
        }
        for key, value in self.said.items():
            plain = isinstance(value, bool | int | float)
            if key not in READ and not (plain and value in NEUTRAL.get(key, ())):
                raise CheckpointError(
                    f"{self.path}: `{self.prefix}{key}` is {_shown(value)}; this version does not "
                    "compute with it",
                    hint="another value is another computation; it is refused, never approximated",
                )

    def integer(self, key: str, default: int | None = None) -> int:
        value = self.said.get(key, default)
        if isinstance(value, np.ndarray) and value.size and (value == value[0]).all():
            value = value[0].item()
        if type(value) is not int or not 1 <= value <= 1 << 24:
            raise self.wrong(key, value, f"a whole number from 1 to {1 << 24}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.said.get(key, default)
        if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise self.wrong(key, value, "a number above zero")
        # The shortest number that float32 rounds to what is stored: 1e-05, as config.json says it.
        return float(str(np.float32(value)))

    def wrong(self, key: str, value: Any, expected: str) -> CheckpointError:
        if value is None:
            return CheckpointError(
                f"{self.path}: the key `{self.prefix}{key}` is missing",
                hint="the file is not that of a language model, or was converted by a broken tool",
            )
        return CheckpointError(
            f"{self.path}: `{self.prefix}{key}` is {_shown(value)}, expected {expected}",
            hint="this file is damaged, or was converted by a broken tool",
        )


def _shown(value: Any) -> str:
    if isinstance(value, list | np.ndarray):
        return f"an array of {len(value)} values"
    return repr(value)


def _config(keys: _Keys, file: GgufFile) -> dict[str, Any]:
    said = file.metadata
    config: dict[str, Any] = dict(ARCHITECTURES[said["general.architecture"]])
    config |= {name: keys.integer(key) for key, name in SIZES.items()}
    heads = config["num_attention_heads"]
    config["num_key_value_heads"] = keys.integer("attention.head_count_kv", heads)
    size = keys.integer("attention.key_length", max(1, config["hidden_size"] // heads))
    for key in ("attention.value_length", "rope.dimension_count"):
        if keys.integer(key, size) != size:
            raise keys.wrong(key, keys.integer(key), f"{size}, the size of a head")
    config["head_dim"] = size
    config["rms_norm_eps"] = keys.number("attention.layer_norm_rms_epsilon")
    config["rope_theta"] = keys.number("rope.freq_base", 10000.0)
    config["rope_scaling"] = _rope_scaling(keys, config, file.tensors.get(FREQUENCIES))
    config["tie_word_embeddings"] = "output.weight" not in file.tensors
    config["attention_bias"] = any(name.endswith("attn_q.bias") for name in file.tensors)
    table = file.tensors.get("token_embd.weight")
    if table is None:
        raise CheckpointError(
            f"{file.path}: tensor `token_embd.weight` is missing",
            hint="the file holds no complete language model",
        )
    config["vocab_size"] = table.shape[0]
    if keys.integer("vocab_size", table.shape[0]) != table.shape[0]:
        raise keys.wrong(
            "vocab_size", keys.said["vocab_size"], f"{table.shape[0]}, the rows of the embedding"
        )
    bos, *ends = (_token(file, kind) for kind in ("bos", "eos", "eot"))
    config["bos_token_id"] = bos
    unique = list(dict.fromkeys(end for end in ends if end is not None))
    config["eos_token_id"] = unique[0] if len(unique) == 1 else unique or None
    name = said.get("general.name")
    if isinstance(name, str) and name.isprintable() and name:
        config["_name_or_path"] = name
    return config


def _token(file: GgufFile, kind: str) -> int | None:
    """Return a special token of the vocabulary; None when the file names none."""
    key = f"tokenizer.ggml.{kind}_token_id"
    token = file.metadata.get(key)
    if token is not None and type(token) is not int:
        raise CheckpointError(
            f"{file.path}: `{key}` is {_shown(token)}, expected the number of a token",
            hint="this file is damaged, or was converted by a broken tool",
        )
    return token


def _rope_scaling(
    keys: _Keys, config: Mapping[str, Any], factors: StoredTensor | None
) -> dict[str, Any] | None:
    # llama.cpp reads a factor without a type as linear, and none beside an explicit "none".
    kind = keys.said.get("rope.scaling.type", "linear")
    if not isinstance(kind, str) or kind not in ("none", "linear", "yarn"):
        raise keys.wrong("rope.scaling.type", kind, "none, linear or yarn")
    factor = keys.number("rope.scaling.factor", keys.number("rope.scale_linear", 1.0))
    blend = keys.said.get("rope.scaling.yarn_ext_factor", -1.0)
    neutral = (-1.0, 1.0) if kind == "yarn" else (-1.0,)
    if not isinstance(blend, int | float) or blend not in neutral:
        raise keys.wrong("rope.scaling.yarn_ext_factor", blend, f"nothing of it beside `{kind}`")
    if factors is not None:
        if kind == "yarn" or (kind == "linear" and factor != 1):
            raise keys.wrong("rope.scaling.type", kind, f"none beside the tensor `{FREQUENCIES}`")
        return _llama3(factors, config)
    if kind == "none" or (kind == "linear" and factor == 1):
        return None
    scaling = {"rope_type": kind, "factor": factor}
    if kind == "yarn":
        scaling["original_max_position_embeddings"] = keys.integer(
            "rope.scaling.original_context_length", config["max_position_embeddings"]
        )
        for name in ("beta_fast", "beta_slow"):
            if f"rope.scaling.yarn_{name}" in keys.said:
                scaling[name] = keys.number(f"rope.scaling.yarn_{name}")
    return scaling


def _llama3(tensor: StoredTensor, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the scaling that a table of frequency divisors was made from.

    llama.cpp stores the divisors, transformers the four numbers that they follow from; those of
    every published model but the largest divisor are the same.
    """
    size = config["head_dim"]
    if tensor.dtype != "F32" or tensor.shape != (size // 2,):
        raise CheckpointError(
            f"{tensor.file}: tensor `{FREQUENCIES}` is {tensor.dtype} {list(tensor.shape)}, "
            f"expected F32 [{size // 2}]",
            hint="the file was converted by a broken tool",
        )
    found = tensor.read().astype(np.float64)
    if (found == 1).all():
        return None
    factor = float(found.max(initial=1.0))
    scaling = {
        "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": LLAMA3_CONTEXT,
    }  # fmt: skip
    if not np.isfinite(found).all() or not np.allclose(
        found, llama3_divisors(config["rope_theta"], size, factor), rtol=1e-5, atol=0
    ):
        raise CheckpointError(
            f"{tensor.file}: tensor `{FREQUENCIES}` holds other divisors than the scaling of Llama "
            f"3 by {factor} has",
            hint="export from the safetensors of the model, whose config.json says how it scales",
        )
    return scaling


def llama3_divisors(theta: float, size: int, factor: float) -> NDArray[np.float64]:
    """Return what the scaling of Llama 3 divides each frequency by (transformers, `llama3`)."""
    frequencies = theta ** -(np.arange(0, size, 2) / size)
    waves = LLAMA3_CONTEXT * frequencies / (2 * math.pi)  # of a wave in the original context
    smooth = np.clip((waves - 1.0) / (4.0 - 1.0), 0, 1)
    return np.asarray(1 / ((1 - smooth) / factor + smooth), np.float64)


def _tensors(
    file: GgufFile, architecture: str, config: Mapping[str, Any]
) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    heads = {
        "attn_q": config["num_attention_heads"],
        "attn_k": config["num_key_value_heads"],
    }
    for stored_as, tensor in file.tensors.items():
        if stored_as == FREQUENCIES:
            continue
        part, name = "", ""
        if match := IN_LAYER.fullmatch(stored_as):
            layer, place, part = match.groups()
            if place in LAYER_NAMES and part in PARTS:
                name = f"model.layers.{layer}.{LAYER_NAMES[place]}.{PARTS[part]}"
        else:
            place, _, part = stored_as.partition(".")
            if place in NAMES and part in PARTS:
                name = f"{NAMES[place]}.{PARTS[part]}"
        if not name:
            raise CheckpointError(
                f"{file.path}: nothing in architecture `{architecture}` computes with tensor "
                f"`{stored_as}`",
                hint="it is refused, never left out; is the file of another architecture?",
            )
        count = heads.get(place, 0) if architecture in PERMUTED and part != "scale" else 0
        if count and tensor.shape[0] % (2 * count):
            raise CheckpointError(
                f"{file.path}: tensor `{stored_as}` has {tensor.shape[0]} rows, which {count} "
                "heads of an even size cannot share",
                hint="the metadata is not that of the weights",
            )
        tensors[name] = dataclasses.replace(tensor, name=name, stored_as=stored_as, heads=count)
    return tensors
