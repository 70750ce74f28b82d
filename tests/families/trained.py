"""The trained models of `samples`, read into one form that every container can be written from.

This reading is the tests' own: it shares nothing with the exporter's but the format documents.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from samples.families import gguf_file
from samples.families.gguf_file import NAMES, PQ2_0, Q1_0, TQ2_0, gguf_name
from tests.tiny_checkpoint import Stored, read_floats, read_safetensors

SAMPLES = Path(__file__).parents[2] / "samples"
STORIES = SAMPLES / "stories" / "model"
HELD_OUT = SAMPLES / "stories" / "held-out.txt"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Quantized:
    """A matrix [n, k] as small integers and scales [n or 1, groups] that multiply."""

    values: NDArray[np.int8]
    scales: Floats

    def wide(self, group: int) -> Floats:
        """Return the scales of every row and of groups of that many columns."""
        rows, columns = self.values.shape
        parts = columns // group
        assert parts % self.scales.shape[1] == 0
        return np.broadcast_to(
            np.repeat(self.scales, parts // self.scales.shape[1], 1), (rows, parts)
        )

    def dense(self) -> Floats:
        """Return what the matrix is."""
        group = self.values.shape[1] // self.scales.shape[1]
        return self.values * np.repeat(self.scales, group, 1)

    @property
    def scale(self) -> float:
        """The scale, where the whole matrix has one."""
        assert self.scales.size == 1
        return float(self.scales[0, 0])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model: matrices that are low-bit, and floats, by the names of transformers."""

    name: str
    config: Mapping[str, Any]
    low_bit: Mapping[str, Quantized]
    floats: Mapping[str, Floats]
    masters: Mapping[str, Floats] = dataclasses.field(default_factory=dict)
    """What the low-bit matrices were rounded from, where the sample keeps it."""


@functools.cache
def trained(name: str) -> Trained:
    """Return a model of `samples` by the name of its folder."""
    if name == "stories":
        return _packed(STORIES)
    folder = SAMPLES / "families" / name
    match name:
        case "falcon" | "qwen":
            return _packed(folder)
        case "onebit":
            return _masters(folder)
        case _:
            return _gguf(folder)


def _packed(folder: Path) -> Trained:
    config = _config(folder)
    divides = "linear_class" not in config["quantization_config"]
    tensors = read_safetensors(folder / "model.safetensors")
    low_bit, floats = {}, {}
    for name, stored in tensors.items():
        if name.endswith("_scale"):
            continue
        if stored.dtype != "U8":
            floats[name] = read_floats(stored)
            continue
        lanes, columns = stored.shape
        byte = np.frombuffer(stored.data, np.uint8).reshape(1, lanes, columns)
        shifts = np.array([0, 2, 4, 6], np.uint8)[:, None, None]
        codes = (byte >> shifts & 3).reshape(4 * lanes, columns).astype(np.int8)
        said = read_floats(tensors[f"{name}_scale"]).reshape(1, 1)
        scale = np.float32(1) / said if divides else said
        low_bit[name] = Quantized(codes - np.int8(1), both_ways(scale))
    return Trained(name=folder.name, config=config, low_bit=low_bit, floats=floats)


def both_ways(scale: Floats) -> Floats:
    """Return a scale, in its last bit another one if need be, that 1 / (1 / scale) gives back."""
    for _ in range(4):
        again = np.float32(1) / (np.float32(1) / scale)
        if again == scale:
            return scale
        scale = again
    raise AssertionError(scale)


def _masters(folder: Path) -> Trained:
    tensors = {
        name: read_floats(stored)
        for name, stored in read_safetensors(folder / "model.safetensors").items()
    }
    masters = {name: values for name, values in tensors.items() if name.endswith("_proj.weight")}
    return Trained(
        name=folder.name,
        config=_config(folder),
        low_bit={name: absmean(values) for name, values in masters.items()},
        floats={name: values for name, values in tensors.items() if name not in masters},
        masters=masters,
    )


def absmean(weight: Floats) -> Quantized:
    """Round a matrix as transformers' WeightQuant does (integrations/bitnet.py)."""
    mean = np.float32(np.abs(weight.astype(np.float64)).mean())
    inverse = np.float32(1) / max(mean, np.float32(1e-5))
    values = np.clip(np.rint(weight * inverse), -1, 1).astype(np.int8)
    return Quantized(values, np.full((1, 1), np.float32(1) / inverse))


def _config(folder: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return said


def _gguf(folder: Path) -> Trained:
    metadata, tensors = read_gguf(folder / "model.gguf")
    arch = metadata["general.architecture"]
    said = {
        key.removeprefix(f"{arch}."): value
        for key, value in metadata.items()
        if key.startswith(f"{arch}.")
    }
    heads, kv_heads = said["attention.head_count"], said["attention.head_count_kv"]
    config = {
        "_name_or_path": metadata["general.name"],
        "architectures": [{"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}[arch]],
        "model_type": arch,
        "vocab_size": said["vocab_size"],
        "hidden_size": said["embedding_length"],
        "intermediate_size": said["feed_forward_length"],
        "num_hidden_layers": said["block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": said["attention.key_length"],
        "max_position_embeddings": said["context_length"],
        "rms_norm_eps": round(said["attention.layer_norm_rms_epsilon"], 12),
        "rope_theta": said["rope.freq_base"],
        "hidden_act": "silu",
        "tie_word_embeddings": "output.weight" not in tensors,
        "bos_token_id": metadata["tokenizer.ggml.bos_token_id"],
        "eos_token_id": metadata["tokenizer.ggml.eos_token_id"],
        "torch_dtype": "float16",
    }
    layers = range(said["block_count"])
    names = [f"{name}.weight" for name in ("model.embed_tokens", "model.norm", "lm_head")]
    names += [f"model.layers.{at}.{n}.weight" for at in layers for n in NAMES if "model" not in n]
    low_bit, floats = {}, {}
    for name in names:
        stored = tensors.get(gguf_name(name))
        if stored is None:
            continue
        if stored.type_number in {gguf_file.F32, gguf_file.F16}:
            kind = "F32" if stored.type_number == gguf_file.F32 else "F16"
            floats[name] = read_floats(Stored(kind, stored.shape, stored.data))
            continue
        matrix = unpacked(stored)
        count = {"q_proj": heads, "k_proj": kv_heads}.get(name.split(".")[-2])
        if count and arch == "llama":
            matrix = Quantized(halved(matrix.values, count), halved(matrix.scales, count))
        low_bit[name] = matrix
    return Trained(name=folder.name, config=config, low_bit=low_bit, floats=floats)


def unpacked(stored: gguf_file.GgufTensor) -> Quantized:
    """Read the block types that samples are stored in."""
    rows, columns = stored.shape
    raw = np.frombuffer(stored.data, np.uint8)
    match stored.type_number:
        case int(number) if number == TQ2_0:
            blocks = raw.reshape(-1, 66)
            parts = blocks[:, :64].reshape(-1, 2, 1, 32)
            codes = parts >> np.array([0, 2, 4, 6], np.uint8)[None, None, :, None] & 3
            values, scales = codes.astype(np.int8) - np.int8(1), blocks[:, 64:]
        case int(number) if number == Q1_0:
            blocks = raw.reshape(-1, 18)
            bits = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little")
            values, scales = bits.astype(np.int8) * np.int8(2) - np.int8(1), blocks[:, :2]
        case int(number) if number == PQ2_0:
            blocks = raw.reshape(-1, 34)
            codes = blocks[:, 2:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3
            values, scales = codes.astype(np.int8) - np.int8(1), blocks[:, :2]
        case _:
            raise AssertionError(stored.type_number)
    halves = np.ascontiguousarray(scales).view("<f2").astype(np.float32)
    return Quantized(values.reshape(rows, columns), halves.reshape(rows, -1))


def halved(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Undo `interleaved`: the even rows of a head, then its odd ones."""
    split = rows.reshape(heads, -1, 2, *rows.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(rows.shape))


def read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, gguf_file.GgufTensor]]:
    """Read a sound file that `write_gguf` wrote."""
    raw, at = path.read_bytes(), 24
    _, _, count, keys = struct.unpack_from("<4sIQQ", raw)

    def take(form: str) -> Any:
        nonlocal at
        (value,) = struct.unpack_from(f"<{form}", raw, at)
        at += struct.calcsize(f"<{form}")
        return value

    def text() -> str:
        nonlocal at
        size = take("Q")
        at += size
        return raw[at - size : at].decode()

    def value(kind: int) -> Any:
        if kind == 8:
            return text()
        if kind == 9:
            inner, size = take("I"), take("Q")
            return [value(inner) for _ in range(size)]
        return take({4: "I", 5: "i", 6: "f", 7: "?"}[kind])

    metadata = {}
    for _ in range(keys):
        key = text()
        metadata[key] = value(take("I"))
    entries = {}
    for _ in range(count):
        name = text()
        shape = tuple(take("Q") for _ in range(take("I")))[::-1]
        entries[name] = (shape, take("I"), take("Q"))
    start = -(-at // gguf_file.ALIGNMENT) * gguf_file.ALIGNMENT
    ends = [*sorted(offset for _, _, offset in entries.values())[1:], len(raw) - start]
    return metadata, {
        name: gguf_file.GgufTensor(kind, shape, raw[start + offset : start + end][:size])
        for (name, (shape, kind, offset)), end in zip(
            sorted(entries.items(), key=lambda item: item[1][2]), ends, strict=True
        )
        for size in [stored_bytes(kind, shape)]
    }


def stored_bytes(kind: int, shape: tuple[int, ...]) -> int:
    """Return how many bytes a tensor takes."""
    weights, size = {
        gguf_file.F32: (1, 4), gguf_file.F16: (1, 2), TQ2_0: (256, 66), Q1_0: (128, 18),
        PQ2_0: (128, 34),
    }[kind]  # fmt: skip
    return int(np.prod(shape)) // weights * size
