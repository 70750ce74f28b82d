"""A trained model, written as each family publishes it.

Every function takes a model and a new folder and returns what `bitexport build` is given.  Packing
is written here a second time, from the formats' own sources.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import quantize
from samples.families import gguf_file
from samples.families.gguf_file import GgufTensor, Value
from tests.families.trained import STORIES, TOKENIZER, Floats, Quantized, Trained, read_gguf
from tests.tiny_checkpoint import (
    Stored,
    packed,
    read_safetensors,
    stored_floats,
    write_json,
    write_safetensors,
    write_shards,
)

Block = Literal["I2_S", "TQ1_0", "TQ2_0", "Q1_0", "Q2_0", "Q2_0 of 128", "PQ2_0"]
Write = Callable[[Trained, Path], Path]

MULTIPLY = {
    "quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline",
}  # fmt: skip
DIVIDE = {"quant_method": "bitnet"}
ONLINE = {
    "quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online",
}  # fmt: skip
GROUPS = {"TQ1_0": 256, "TQ2_0": 256, "Q1_0": 128, "Q2_0": 64, "Q2_0 of 128": 128, "PQ2_0": 128}
PACKERS: Mapping[str, Callable[..., GgufTensor]] = {
    "TQ1_0": gguf_file.pack_tq1_0,
    "TQ2_0": gguf_file.pack_tq2_0,
    "Q1_0": gguf_file.pack_q1_0,
    "Q2_0": functools.partial(gguf_file.pack_q2_0, block=64),
    "Q2_0 of 128": functools.partial(gguf_file.pack_q2_0, block=128),
    "PQ2_0": gguf_file.pack_pq2_0,
}


def write_packed_multiply(model: Trained, folder: Path) -> Path:
    """Write packed uint8, `autobitlinear` and `offline`: the scale multiplies."""
    return _write_packed(model, folder, MULTIPLY, divides=False)


def write_packed_divide(model: Trained, folder: Path) -> Path:
    """Write packed uint8 without `linear_class`, that is `bitlinear`: the scale divides."""
    return _write_packed(model, folder, DIVIDE, divides=True)


def write_wrong_way(model: Trained, folder: Path) -> Path:
    """Write a scale that multiplies into a checkpoint that says that it divides."""
    return _write_packed(model, folder, DIVIDE, divides=False)


def write_masters_bf16(model: Trained, folder: Path) -> Path:
    """Write master weights in bfloat16, rounded anew in each forward pass: `online`."""
    return _write_masters(model, folder, "BF16", ONLINE)


def write_masters_f32(model: Trained, folder: Path) -> Path:
    """Write master weights in float32 without `quantization_config`, as 1bitLLM has them."""
    return _write_masters(model, folder, "F32", None)


def write_unpacked(model: Trained, folder: Path) -> Path:
    """Write float16 that already is {-s, 0, s}, the scales those of blocks of rows or columns."""
    tensors = {name: stored_floats(matrix.dense(), "F16") for name, matrix in model.low_bit.items()}
    tensors |= {name: stored_floats(values, "F16") for name, values in model.floats.items()}
    config = {**model.config, "torch_dtype": "float16"}
    return write_folder(folder, config, tensors)


def write_mixed(model: Trained, folder: Path) -> Path:
    """Write packed matrices, but those of the last layer's feed-forward as bfloat16."""
    last = model.config["num_hidden_layers"] - 1
    kept = {n for n in model.low_bit if n.startswith(f"model.layers.{last}.mlp.")}
    whole = _packed_tensors(model, divides=False)
    tensors = {n: s for n, s in whole.items() if n.removesuffix("_scale") not in kept}
    tensors |= {n: stored_floats(model.low_bit[n].dense(), "BF16") for n in sorted(kept)}
    names = [*sorted(name.removesuffix(".weight") for name in kept), "lm_head"]
    quantization = {**MULTIPLY, "modules_to_not_convert": names}
    return write_folder(folder, {**model.config, "quantization_config": quantization}, tensors)


def write_sharded(write: Write, count: int = 3) -> Write:
    """Return a writer of the same tensors in several files with an index."""

    def written(model: Trained, folder: Path) -> Path:
        single = write(model, folder) / "model.safetensors"
        write_shards(folder, read_safetensors(single), count)
        single.unlink()
        return folder

    return written


def write_projection_norms(model: Trained, folder: Path) -> Path:
    """Write the same function with `use_rms_norm`: a norm's weights stand before its projections.

    A norm of what is already normalised changes nothing but the last bits, so the weights of the
    norm before a projection can be moved into the projection's own.
    """
    tensors, floats = _packed_tensors(model, divides=False), dict(model.floats)
    for at in range(model.config["num_hidden_layers"]):
        for norm, names in {
            "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            "self_attn.attn_sub_norm": ("self_attn.o_proj",),
            "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
            "mlp.ffn_sub_norm": ("mlp.down_proj",),
        }.items():
            layer = f"model.layers.{at}"
            weight = floats[f"{layer}.{norm}.weight"]
            ones = np.ones_like(weight)
            tensors[f"{layer}.{norm}.weight"] = stored_floats(ones, "BF16")
            for name in names:
                tensors[f"{layer}.{name}.rms_norm.weight"] = stored_floats(weight, "BF16")
    quantization = {**MULTIPLY, "use_rms_norm": True, "rms_norm_eps": 1e-5}
    return write_folder(folder, {**model.config, "quantization_config": quantization}, tensors)


def write_biases(model: Trained, folder: Path) -> Path:
    """Write a Qwen2: the matrices of a Llama, and small biases of queries, keys and values."""
    rng, tensors = np.random.default_rng(5), _packed_tensors(model, divides=True)
    for name, matrix in model.low_bit.items():
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            bias = 0.05 * rng.standard_normal(len(matrix.values))
            tensors[name.replace(".weight", ".bias")] = stored_floats(bias, "BF16")
    config = {
        **model.config, "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"],
        "quantization_config": {**DIVIDE, "modules_to_not_convert": ["lm_head"]},
    }  # fmt: skip
    config.pop("is_bitnet_config")
    return write_folder(folder, config, tensors)


def write_gguf(arch: str, block: Block, table: int = gguf_file.F16) -> Write:
    """Return a writer of `model.gguf`: matrices in blocks where their columns fit, else F16.

    `table` is the type of an embedding and a head that are not low-bit.
    """

    def written(model: Trained, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        metadata: dict[str, Value] = gguf_file.metadata_of(
            arch, model.config, STORIES / "tokenizer.json"
        )
        path = folder / "model.gguf"
        gguf_file.write_gguf(path, metadata, _gguf_tensors(model, arch, block, table))
        _copy_tokenizer(folder)
        return path

    return written


def write_gguf_mixed(model: Trained, folder: Path) -> Path:
    """Write TQ2_0 but for the embedding and one layer in Q4_0, and a head in Q8_0.

    The `gguf` package packs these two: groups of 32 with a float16 each.
    """
    path = write_gguf("llama", "TQ2_0")(model, folder)
    metadata, tensors = read_gguf(path)
    dense = {**model.floats, **{name: matrix.dense() for name, matrix in model.low_bit.items()}}
    for name, kind in {
        "model.embed_tokens.weight": GGMLQuantizationType.Q4_0,
        "model.layers.1.mlp.down_proj.weight": GGMLQuantizationType.Q4_0,
        "lm_head.weight": GGMLQuantizationType.Q8_0,
    }.items():
        data = quantize(dense[name], kind).tobytes()
        tensors[gguf_file.gguf_name(name)] = GgufTensor(int(kind), dense[name].shape, data)
    gguf_file.write_gguf(path, metadata, tensors)
    return path


def dressed(matrix: Quantized, seed: int) -> Floats:
    """Return masters in bfloat16 that round to a matrix: its trits, its scale to 1 %.

    Zeros become numbers below half the scale, the others numbers around what makes mean |W| the
    scale again.
    """
    rng = np.random.default_rng(seed)
    scale, zeros = matrix.scale, matrix.values == 0
    noise = rng.uniform(-0.4, 0.4, matrix.values.shape)
    rest = (1 - 0.2 * zeros.mean()) / max(1 - zeros.mean(), 1e-9)  # mean |noise| is 0.2
    spread = rng.uniform(1 - 0.2, 1 + 0.2, matrix.values.shape)
    masters = scale * np.where(zeros, noise, matrix.values * rest * spread)
    bits = masters.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


def write_folder(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Stored]) -> Path:
    """Write config.json, model.safetensors and the tokenizer of the stories."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    write_safetensors(folder / "model.safetensors", tensors)
    _copy_tokenizer(folder)
    return folder


def _write_packed(
    model: Trained, folder: Path, quantization: Mapping[str, Any], *, divides: bool
) -> Path:
    kept = None if model.config["tie_word_embeddings"] else ["lm_head"]
    said = {**quantization, "modules_to_not_convert": kept}
    own = model.config.get("quantization_config", {})
    said |= {key: own[key] for key in ("use_rms_norm", "rms_norm_eps") if key in own}
    config = {**model.config, "quantization_config": said}
    return write_folder(folder, config, _packed_tensors(model, divides=divides))


def _packed_tensors(model: Trained, *, divides: bool) -> dict[str, Stored]:
    tensors = {name: stored_floats(values, "BF16") for name, values in model.floats.items()}
    for name, matrix in model.low_bit.items():
        tensors[name] = packed(matrix.values)
        scale = np.array([matrix.scale], np.float32)
        tensors[f"{name}_scale"] = stored_floats(1 / scale if divides else scale, "F32")
    return tensors


def _write_masters(
    model: Trained, folder: Path, dtype: str, quantization: Mapping[str, Any] | None
) -> Path:
    tensors = {name: stored_floats(values, dtype) for name, values in model.floats.items()}
    for seed, (name, matrix) in enumerate(model.low_bit.items()):
        masters = model.masters.get(name)
        values = dressed(matrix, seed) if masters is None else masters
        if dtype == "F32":  # the samples keep the upper half of the bits
            noise = np.random.default_rng(seed).uniform(-1, 1, values.shape)
            values = values * (1 + noise.astype(np.float32) * np.float32(2**-10))
        tensors[name] = stored_floats(values, dtype)
    config = dict(model.config)
    config.pop("quantization_config", None)
    if quantization is not None:
        kept = None if model.config["tie_word_embeddings"] else ["lm_head"]
        config["quantization_config"] = {**quantization, "modules_to_not_convert": kept}
    return write_folder(folder, config, tensors)


def _gguf_tensors(model: Trained, arch: str, block: Block, table: int) -> dict[str, GgufTensor]:
    config, tensors = model.config, {}
    counts = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    for name, values in model.floats.items():
        kind = gguf_file.F32 if values.ndim == 1 else table
        tensors[gguf_file.gguf_name(name)] = gguf_file.floats(values, kind)
    for name, matrix in model.low_bit.items():
        heads = counts.get(name.split(".")[-2])
        stored = matrix
        if heads and arch == "llama":
            scales = matrix.scales
            if len(scales) > 1:
                scales = gguf_file.interleaved(scales, config[heads])
            values = gguf_file.interleaved(matrix.values, config[heads])
            stored = Quantized(values, scales)
        tensors[gguf_file.gguf_name(name)] = _block_tensor(stored, block)
    return tensors


def _block_tensor(matrix: Quantized, block: Block) -> GgufTensor:
    if block == "I2_S":
        return gguf_file.pack_i2_s(matrix.values, matrix.scale)
    group = GROUPS[block]
    if matrix.values.shape[1] % group:  # llama.cpp's converter falls back to F16, too
        return gguf_file.floats(matrix.dense(), gguf_file.F16)
    return PACKERS[block](matrix.values, matrix.wide(group).astype(np.float16))


def _copy_tokenizer(folder: Path) -> None:
    for name in TOKENIZER:
        shutil.copyfile(STORIES / name, folder / name)
