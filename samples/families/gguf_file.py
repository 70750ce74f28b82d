"""Write GGUF files: the container, and the block types that hold ternary and binary weights.

The container is that of ggml-org/ggml, docs/gguf.md, version 3.  The block types are those of
llama.cpp (ggml-common.h, ggml-quants.c), of microsoft/BitNet (I2_S) and of PrismML's fork (PQ2_0,
Q2_0 in blocks of 128); some of them the `gguf` package can neither write nor name.
"""

from __future__ import annotations

import dataclasses
import json
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 32
F32, F16 = 0, 1
TQ1_0, TQ2_0, I2_S, Q1_0, Q2_0, PQ2_0 = 34, 35, 36, 41, 42, 142

Values = NDArray[np.int8]
Scales = NDArray[np.float16]
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.attn_sub_norm": "attn_sub_norm",
    "self_attn.inner_attn_ln": "attn_sub_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.ffn_sub_norm": "ffn_sub_norm",
    "mlp.ffn_layernorm": "ffn_sub_norm",
}
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # what a token is

Place = tuple[int, tuple[int, ...], int]
"""Of a tensor: the number of its type, its shape, its bytes."""
Value = bool | int | float | str | Sequence[int] | Sequence[float] | Sequence[str]


@dataclasses.dataclass(frozen=True)
class GgufTensor:
    """A tensor as a GGUF stores it; the shape as numpy says it, columns last."""

    type_number: int
    shape: tuple[int, ...]
    data: bytes


def floats(values: NDArray[Any], type_number: int = F32) -> GgufTensor:
    """Store floats as F32 or F16."""
    kind = {F32: "<f4", F16: "<f2"}[type_number]
    return GgufTensor(type_number, values.shape, values.astype(kind).tobytes())


def write_gguf(
    path: Path, metadata: Mapping[str, Value], tensors: Mapping[str, GgufTensor]
) -> None:
    """Write a sound file."""
    places = {
        name: (tensor.type_number, tensor.shape, len(tensor.data))
        for name, tensor in tensors.items()
    }
    body = [tensor.data + padding(len(tensor.data)) for tensor in tensors.values()]
    path.write_bytes(head(metadata, places) + b"".join(body))


def head(metadata: Mapping[str, Value], tensors: Mapping[str, Place]) -> bytes:
    """Return what stands before the data: the tensors follow in order, each with its padding."""
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    for key, value in metadata.items():
        kind, data = _value(value)
        parts += [_string(key), struct.pack("<I", kind), data]
    at = 0
    for name, (type_number, shape, size) in tensors.items():
        parts += [_string(name), struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))]
        parts += [struct.pack("<IQ", type_number, at)]
        at += size + len(padding(size))
    whole = b"".join(parts)
    return whole + padding(len(whole))


def padding(size: int) -> bytes:
    """Return what follows so many bytes, up to where the next tensor may begin."""
    return bytes(-size % ALIGNMENT)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Value) -> tuple[int, bytes]:
    """Return the number of a value's type, and its bytes."""
    match value:
        case bool():
            return 7, struct.pack("<?", value)
        case int():
            return 4, struct.pack("<I", value)
        case float():
            return 6, struct.pack("<f", value)
        case str():
            return 8, _string(value)
    parts = [_value(item) for item in value]
    if parts[0][0] == 4:
        parts = [(5, struct.pack("<i", item)) for item in value]
    return 9, struct.pack("<IQ", parts[0][0], len(parts)) + b"".join(data for _, data in parts)


def pack_tq1_0(values: Values, scales: Scales) -> GgufTensor:
    """Pack trits in blocks of 256: five to a byte in base 3, four to a byte at the end, f16."""
    digits = (values + 1).astype(np.uint16).reshape(-1, 256)
    first = digits[:, :160].reshape(-1, 5, 32)
    second = digits[:, 160:240].reshape(-1, 5, 16)
    last = np.zeros((len(digits), 5, 4), np.uint16)
    last[:, :4] = digits[:, 240:].reshape(-1, 4, 4)
    powers = np.array([81, 27, 9, 3, 1], np.uint16)[None, :, None]
    parts = [(part * powers).sum(1) for part in (first, second, last)]
    codes = [((part * 256 + 242) // 243).astype(np.uint8) for part in parts]
    data = np.concatenate([*codes, _bytes_of(scales)], axis=1)
    return GgufTensor(TQ1_0, values.shape, data.tobytes())


def pack_tq2_0(values: Values, scales: Scales) -> GgufTensor:
    """Pack trits in blocks of 256: weight 128 h + 32 l + m is in bits 2 l of byte 32 h + m, f16."""
    codes = (values + 1).astype(np.uint8).reshape(-1, 2, 4, 32)
    packed = codes[:, :, 0] | codes[:, :, 1] << 2 | codes[:, :, 2] << 4 | codes[:, :, 3] << 6
    data = np.concatenate([packed.reshape(-1, 64), _bytes_of(scales)], axis=1)
    return GgufTensor(TQ2_0, values.shape, data.tobytes())


def pack_q1_0(values: Values, scales: Scales) -> GgufTensor:
    """Pack signs in blocks of 128: f16, then weight j in bit j % 8 of byte j / 8."""
    packed = np.packbits((values > 0).reshape(-1, 128), axis=1, bitorder="little")
    data = np.concatenate([_bytes_of(scales), packed], axis=1)
    return GgufTensor(Q1_0, values.shape, data.tobytes())


def pack_q2_0(values: Values, scales: Scales, block: int, type_number: int = Q2_0) -> GgufTensor:
    """Pack trits in blocks of 64 (mainline) or 128 (PrismML): f16, then four neighbours a byte."""
    codes = (values + 1).astype(np.uint8).reshape(-1, block // 4, 4)
    packed = codes[..., 0] | codes[..., 1] << 2 | codes[..., 2] << 4 | codes[..., 3] << 6
    data = np.concatenate([_bytes_of(scales), packed], axis=1)
    return GgufTensor(type_number, values.shape, data.tobytes())


def pack_pq2_0(values: Values, scales: Scales) -> GgufTensor:
    """Pack trits in blocks of 128, under the number that is PrismML's alone."""
    return pack_q2_0(values, scales, 128, PQ2_0)


def pack_i2_s(values: Values, scale: float) -> GgufTensor:
    """Pack trits in blocks of 128: byte p holds p, p + 32, p + 64, p + 96 from the top bits down.

    One float32 for the whole tensor stands in a tail of 32 bytes.
    """
    codes = (values + 1).astype(np.uint8).reshape(-1, 4, 32)
    packed = codes[:, 0] << 6 | codes[:, 1] << 4 | codes[:, 2] << 2 | codes[:, 3]
    tail = struct.pack("<f", scale) + bytes(28)
    return GgufTensor(I2_S, values.shape, packed.tobytes() + tail)


def _bytes_of(scales: Scales) -> NDArray[np.uint8]:
    """Return scales [rows, groups] as the bytes of each, [rows * groups, 2]."""
    return scales.astype("<f2").reshape(-1, 1).view(np.uint8)


def interleaved(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Return the rows of q_proj or k_proj in the order of arch `llama`: halves of a head as pairs.

    Its RoPE turns neighbours, that of transformers turns i and i + size / 2.
    """
    split = rows.reshape(heads, 2, -1, *rows.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(rows.shape))


def gguf_name(name: str) -> str:
    """Return what a GGUF calls a tensor of a Hugging Face checkpoint."""
    layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.weight", name)
    if layer:
        return f"blk.{layer[1]}.{NAMES[layer[2]]}.weight"
    return f"{NAMES[name.removesuffix('.weight')]}.weight"


def metadata_of(arch: str, config: Mapping[str, Any], tokenizer: Path) -> dict[str, Value]:
    """Say what config.json and tokenizer.json say in the keys of llama.cpp."""
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    size = config.get("head_dim") or hidden // heads
    facts: dict[str, Value] = {
        "context_length": config["max_position_embeddings"],
        "embedding_length": hidden,
        "block_count": config["num_hidden_layers"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": heads,
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.key_length": size,
        "attention.value_length": size,
        "attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
        "rope.dimension_count": size,
        "rope.freq_base": float(config["rope_theta"]),
        "vocab_size": config["vocab_size"],
    }
    said = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]
    tokens = sorted(said["vocab"], key=said["vocab"].get)
    merged = {"".join(pair): at for at, pair in reversed([*enumerate(said["merges"])])}
    types = [BYTE if re.fullmatch(r"<0x[0-9A-F]{2}>", token) else NORMAL for token in tokens]
    types[:3] = [UNKNOWN, CONTROL, CONTROL]
    return {
        "general.architecture": arch,
        "general.name": config["_name_or_path"],
        **{f"{arch}.{key}": value for key, value in facts.items()},
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [-float(merged.get(token, len(merged))) for token in tokens],
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.bos_token_id": config["bos_token_id"],
        "tokenizer.ggml.eos_token_id": config["eos_token_id"],
        "tokenizer.ggml.add_bos_token": True,
    }
