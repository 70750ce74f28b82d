"""Writes a tiny seeded checkpoint in the exact layout of microsoft/bitnet-b1.58-2B-4T.

What every number is, the tests know: the trits before packing, the bits of every float.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

PROMPT = "Once upon a time, there was a little"
SPECIAL = ("<unk>", "<s>", "</s>")
WORDS = tuple(dict.fromkeys(PROMPT.replace(",", " ,").split()))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a model; rows of packed matrices come in fours."""

    hidden: int = 64
    inner: int = 96
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    vocabulary: int = 96
    context: int = 64
    floats: str = "BF16"

    @property
    def head_size(self) -> int:
        """Columns of one head."""
        return self.hidden // self.heads

    def matrices(self) -> dict[str, tuple[int, int]]:
        """Return the ternary matrices of the model by name, (n, k)."""
        kv = self.kv_heads * self.head_size
        return {
            f"model.layers.{layer}.{name}": shape
            for layer in range(self.layers)
            for name, shape in {
                "self_attn.q_proj": (self.hidden, self.hidden),
                "self_attn.k_proj": (kv, self.hidden),
                "self_attn.v_proj": (kv, self.hidden),
                "self_attn.o_proj": (self.hidden, self.hidden),
                "mlp.gate_proj": (self.inner, self.hidden),
                "mlp.up_proj": (self.inner, self.hidden),
                "mlp.down_proj": (self.hidden, self.inner),
            }.items()
        }

    def norms(self) -> dict[str, int]:
        """Return the norms of the model by name, with their columns."""
        return {
            f"model.layers.{layer}.{name}": columns
            for layer in range(self.layers)
            for name, columns in {
                "input_layernorm": self.hidden,
                "self_attn.attn_sub_norm": self.hidden,
                "post_attention_layernorm": self.hidden,
                "mlp.ffn_sub_norm": self.inner,
            }.items()
        } | {"model.norm": self.hidden}


RAGGED = Shape(hidden=40, inner=52, vocabulary=90, context=48)
"""No size of this one is a multiple of 16."""

WIDE = Shape(hidden=40, inner=804, vocabulary=90, context=48)
"""Tables of so many columns are made in passes, and in pieces (targets/runtime/src/lookup.h)."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """A tensor as a file stores it."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was written, and what its numbers are."""

    path: Path
    shape: Shape
    trits: Mapping[str, NDArray[np.int8]]
    floats: Mapping[str, NDArray[np.float32]]


def write_checkpoint(
    folder: Path, shape: Shape = Shape(), *, seed: int = 1, shards: int = 1
) -> Checkpoint:
    """Write config.json, weights and tokenizer.json; the same seed gives the same bytes."""
    rng = np.random.default_rng(seed)
    trits = {
        name: rng.integers(-1, 2, size).astype(np.int8) for name, size in shape.matrices().items()
    }
    floats: dict[str, NDArray[np.float64]] = {
        "model.embed_tokens.weight": 0.3 * rng.standard_normal((shape.vocabulary, shape.hidden))
    }
    for name, columns in shape.norms().items():
        floats[f"{name}.weight"] = 1 + 0.1 * rng.standard_normal(columns)
    for name, (_, k) in shape.matrices().items():
        floats[f"{name}.weight_scale"] = np.array([rng.uniform(1, 2) / math.sqrt(k)])
    tensors = {f"{name}.weight": packed(matrix) for name, matrix in trits.items()}
    tensors |= {name: stored_floats(values, shape.floats) for name, values in floats.items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config_of(shape))
    write_tokenizer(folder / "tokenizer.json", shape.vocabulary)
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors)
    else:
        write_shards(folder, tensors, shards)
    kept = {name: read_floats(tensors[name]) for name in floats}
    return Checkpoint(folder, shape, trits, kept)


def config_of(shape: Shape) -> dict[str, Any]:
    """Return what config.json says about a model."""
    return {
        "architectures": ["BitNetForCausalLM"],
        "model_type": "bitnet",
        "_name_or_path": "tiny",
        "hidden_act": "relu2",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "max_position_embeddings": shape.context,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "vocab_size": shape.vocabulary,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "bfloat16",
        "quantization_config": {
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "offline",
        },
    }


def write_json(path: Path, said: object) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def edit_config(folder: Path, **changes: Any) -> None:
    """Change keys of config.json; a key that is None is taken out."""
    said = json.loads((folder / "config.json").read_text(encoding="utf-8")) | changes
    write_json(folder / "config.json", {k: v for k, v in said.items() if v is not None})


def write_tokenizer(path: Path, vocabulary: int) -> None:
    """Write a tokenizer of whole words: those of the prompt, then w0, w1 and so on."""
    words = [*SPECIAL, *WORDS]
    words += [f"w{number}" for number in range(vocabulary - len(words))]
    vocab = {word: number for number, word in enumerate(words[:vocabulary])}
    tokenizer = Tokenizer(WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(path))


def packed(trits: NDArray[np.int8]) -> Stored:
    """Pack four rows, n / 4 apart, into a byte, as transformers' `pack_weights` does."""
    n, k = trits.shape
    codes = (trits + 1).astype(np.uint8).reshape(4, n // 4, k)
    data = codes[0] | codes[1] << 2 | codes[2] << 4 | codes[3] << 6
    return Stored("U8", (n // 4, k), data.tobytes())


def stored_floats(values: NDArray[Any], dtype: str) -> Stored:
    """Store floats; as BF16 they are cut, which no test depends on."""
    if dtype == "BF16":
        bits = values.astype(np.float32).view(np.uint32) >> np.uint32(16)
        return Stored(dtype, values.shape, bits.astype("<u2").tobytes())
    kind = {"F32": "<f4", "F16": "<f2"}[dtype]
    return Stored(dtype, values.shape, values.astype(kind).tobytes())


def read_floats(stored: Stored) -> NDArray[np.float32]:
    """Return what stored floats are, exactly."""
    if stored.dtype == "BF16":
        bits = np.frombuffer(stored.data, "<u2").astype(np.uint32) << np.uint32(16)
        return bits.view(np.float32).reshape(stored.shape)
    kind = {"F32": "<f4", "F16": "<f2"}[stored.dtype]
    return np.frombuffer(stored.data, kind).astype(np.float32).reshape(stored.shape)


def safetensors_header(tensors: Mapping[str, Stored]) -> dict[str, Any]:
    """Return the header of a sound file that holds these tensors one after the other."""
    header, at = {}, 0
    for name, stored in tensors.items():
        end = at + len(stored.data)
        header[name] = {
            "dtype": stored.dtype, "shape": list(stored.shape), "data_offsets": [at, end],
        }  # fmt: skip
        at = end
    return header


def safetensors_bytes(header: object, data: bytes) -> bytes:
    """Return a file with this header and this data, whatever they say."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def write_safetensors(path: Path, tensors: Mapping[str, Stored]) -> None:
    """Write a sound file."""
    data = b"".join(stored.data for stored in tensors.values())
    path.write_bytes(safetensors_bytes(safetensors_header(tensors), data))


def read_safetensors(path: Path) -> dict[str, Stored]:
    """Read a sound file, to change a tensor and write it again."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    return {
        name: Stored(
            entry["dtype"], tuple(entry["shape"]),
            raw[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]],
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }  # fmt: skip


def replace_tensor(folder: Path, name: str, stored: Stored | None) -> None:
    """Put another tensor into model.safetensors, or take one out."""
    tensors = read_safetensors(folder / "model.safetensors")
    if stored is None:
        del tensors[name]
    else:
        tensors[name] = stored
    write_safetensors(folder / "model.safetensors", tensors)


def write_shards(folder: Path, tensors: Mapping[str, Stored], count: int) -> None:
    """Write a sound checkpoint of several files and an index."""
    names = list(tensors)
    table: dict[str, str] = {}
    for number in range(count):
        file = f"model-{number + 1:05}-of-{count:05}.safetensors"
        own = names[number::count]
        write_safetensors(folder / file, {name: tensors[name] for name in own})
        table |= dict.fromkeys(own, file)
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": table})
