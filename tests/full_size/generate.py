"""Writes checkpoints of published sizes with random weights, in the exact layouts they come in.

    python -m tests.full_size.generate 2b4t FOLDER

The bytes are random, every code is valid and no activation overflows.  They are written as they are
made: nothing is held.  `TOYS` are the same models in sizes for every day; they take the same way.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
import numpy as np
from samples.families import gguf_file

PIECE_BYTES = 4 << 20
"""How much is made and written at a time; a multiple of every block of a format."""

TRIT_BYTES = np.array(
    [b for b in range(256) if all(b >> shift & 3 != 3 for shift in (0, 2, 4, 6))], np.uint8
)
Q1_0_BLOCK, Q1_0_BYTES = 128, 18
QWEN3_BEHIND, QWEN3_SPECIAL = 293, 26
NORMAL, CONTROL, UNUSED = 1, 3, 5

Size = TypeVar("Size")
Content = Literal["trits", "bfloat16", "ones", "signs", "divisor", "factor"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """The sizes of a model and the layout it is published in."""

    name: str
    family: Literal["bitnet", "llama", "qwen3"]
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    shards: int = 1

    def matrices(self) -> dict[str, tuple[int, int]]:
        """Return the low-bit matrices of the layers by name, (n, k)."""
        width, kv_width = self.heads * self.head_size, self.kv_heads * self.head_size
        one = {
            "self_attn.q_proj": (width, self.hidden),
            "self_attn.k_proj": (kv_width, self.hidden),
            "self_attn.v_proj": (kv_width, self.hidden),
            "self_attn.o_proj": (self.hidden, width),
            "mlp.gate_proj": (self.inner, self.hidden),
            "mlp.up_proj": (self.inner, self.hidden),
            "mlp.down_proj": (self.hidden, self.inner),
        }
        return {
            f"model.layers.{i}.{n}": size for i in range(self.layers) for n, size in one.items()
        }

    def norms(self) -> dict[str, int]:
        """Return the norms by name, with their columns."""
        one = {"input_layernorm": self.hidden, "post_attention_layernorm": self.hidden}
        if self.family == "bitnet":
            one["self_attn.attn_sub_norm"] = self.heads * self.head_size
            one["mlp.ffn_sub_norm"] = self.inner
        if self.family == "qwen3":
            one["self_attn.q_norm"] = one["self_attn.k_norm"] = self.head_size
        every = {
            f"model.layers.{i}.{n}": size for i in range(self.layers) for n, size in one.items()
        }
        return every | {"model.norm": self.hidden}


MODELS = {
    "2b4t": Model(
        name="bitnet-2b4t-random", family="bitnet", hidden=2560, inner=6912, layers=30, heads=20,
        kv_heads=5, head_size=128, vocabulary=128256, context=4096,
    ),
    "llama3-8b": Model(
        name="llama3-8b-random", family="llama", hidden=4096, inner=14336, layers=32, heads=32,
        kv_heads=8, head_size=128, vocabulary=128256, context=8192, shards=4,
    ),
    "bonsai-8b": Model(
        name="bonsai-8b-random", family="qwen3", hidden=4096, inner=12288, layers=36, heads=32,
        kv_heads=8, head_size=128, vocabulary=151936, context=40960,
    ),
}  # fmt: skip
TOYS = {
    "2b4t": dataclasses.replace(
        MODELS["2b4t"], hidden=64, inner=172, layers=2, heads=4, kv_heads=1, head_size=16,
        vocabulary=400, context=64,
    ),
    "llama3-8b": dataclasses.replace(
        MODELS["llama3-8b"], hidden=64, inner=224, layers=3, heads=4, kv_heads=1, head_size=16,
        vocabulary=400, context=64,
    ),
    "bonsai-8b": dataclasses.replace(
        MODELS["bonsai-8b"], hidden=256, inner=640, layers=2, heads=4, kv_heads=1, head_size=64,
        vocabulary=600, context=64,
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Tensor:
    """What a file is to hold: the name and dtype that its format gives, and the kind of bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    content: Content


def generate(model: Model, folder: Path) -> Path:
    """Write a model into a new folder; return what `bitexport build` takes.

    The same model gives the same bytes.
    """
    folder.mkdir(parents=True)
    if model.family == "qwen3":
        path = folder / f"{model.name}-Q1_0.gguf"
        _write_gguf(path, model)
        return path
    _write_json(folder / "config.json", _config(model))
    _write_tokenizer(folder / "tokenizer.json", model.vocabulary)
    tensors = _safetensors_of(model)
    shards = _split(tensors, model.shards)
    if len(shards) == 1:
        _write_safetensors(folder / "model.safetensors", tensors, seed=0)
        return folder
    table: dict[str, str] = {}
    for number, shard in enumerate(shards):
        name = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        _write_safetensors(folder / name, shard, seed=number)
        table |= {tensor.name: name for tensor in shard}
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors)}, "weight_map": table}
    _write_json(folder / "model.safetensors.index.json", index)
    return folder


# ---- what the bytes are ----------------------------------------------------------------------


def _pieces(tensor: Tensor, rng: np.random.Generator) -> Iterator[bytes]:
    """Yield the bytes of a tensor."""
    block = Q1_0_BYTES if tensor.content == "signs" else 1
    step = PIECE_BYTES // block * block
    for start in range(0, tensor.nbytes, step):
        yield _piece(tensor, min(step, tensor.nbytes - start), rng)


def _piece(tensor: Tensor, size: int, rng: np.random.Generator) -> bytes:
    match tensor.content:
        case "trits":
            table = np.resize(TRIT_BYTES, 256)
            return table[np.frombuffer(rng.bytes(size), np.uint8)].tobytes()
        case "bfloat16":  # any sign and fraction, magnitudes 2^-7 to 2^-3
            bits = np.frombuffer(rng.bytes(size), "<u2") & np.uint16(0x81FF) | np.uint16(0x3C00)
            return bits.tobytes()
        case "signs":  # blocks of a positive float16, 2^-6 to 2^-5, and 128 bits
            blocks = np.frombuffer(rng.bytes(size), np.uint8).reshape(-1, Q1_0_BYTES).copy()
            blocks[:, 1] = blocks[:, 1] & 0x03 | 0x24
            return blocks.tobytes()
        case "ones":
            one = {"BF16": b"\x80\x3f", "F32": b"\x00\x00\x80\x3f"}[tensor.dtype]
            return one * (size // len(one))
        case "divisor":
            return _bfloat16(64.0)
        case "factor":
            return _bfloat16(1 / 64)


def _bfloat16(value: float) -> bytes:
    return struct.pack("<f", value)[2:]


# ---- safetensors -----------------------------------------------------------------------------


def _safetensors_of(model: Model) -> list[Tensor]:
    """Return the tensors in the order of the file."""
    table = (model.vocabulary, model.hidden)
    size = 2 * model.vocabulary * model.hidden
    tensors = [Tensor("model.embed_tokens.weight", "BF16", table, size, "bfloat16")]
    scale: Content = "factor" if model.family == "bitnet" else "divisor"
    for name, (n, k) in model.matrices().items():
        tensors.append(Tensor(f"{name}.weight", "U8", (n // 4, k), n // 4 * k, "trits"))
        tensors.append(Tensor(f"{name}.weight_scale", "BF16", (1,), 2, scale))
    for name, columns in model.norms().items():
        tensors.append(Tensor(f"{name}.weight", "BF16", (columns,), 2 * columns, "ones"))
    if model.family == "llama":
        tensors.append(Tensor("lm_head.weight", "BF16", table, size, "bfloat16"))
    return tensors


def _split(tensors: Sequence[Tensor], count: int) -> list[list[Tensor]]:
    """Divide tensors into shards of about the same size, in order."""
    total, done = sum(tensor.nbytes for tensor in tensors), 0
    shards: list[list[Tensor]] = [[] for _ in range(count)]
    for tensor in tensors:
        shards[min(count - 1, done * count // total)].append(tensor)
        done += tensor.nbytes
    return [shard for shard in shards if shard]


def _write_safetensors(path: Path, tensors: Sequence[Tensor], seed: int) -> None:
    header: dict[str, Any] = {}
    at = 0
    for tensor in tensors:
        offsets = [at, at := at + tensor.nbytes]
        header[tensor.name] = {
            "dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": offsets,
        }  # fmt: skip
    text = json.dumps(header).encode()
    rng = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            file.writelines(_pieces(tensor, rng))


def _config(model: Model) -> dict[str, Any]:
    """Return config.json as the published one says it (2B-4T; Llama3-8B-1.58)."""
    said: dict[str, Any] = {
        "_name_or_path": model.name, "hidden_size": model.hidden, "rms_norm_eps": 1e-05,
        "intermediate_size": model.inner, "max_position_embeddings": model.context,
        "num_attention_heads": model.heads, "num_hidden_layers": model.layers,
        "num_key_value_heads": model.kv_heads, "rope_theta": 500000.0,
        "vocab_size": model.vocabulary, "torch_dtype": "bfloat16",
        "bos_token_id": model.vocabulary - 256, "eos_token_id": model.vocabulary - 255,
    }  # fmt: skip
    if model.family == "bitnet":
        return said | {
            "architectures": ["BitNetForCausalLM"], "model_type": "bitnet", "hidden_act": "relu2",
            "tie_word_embeddings": True,
            "quantization_config": {
                "quant_method": "bitnet", "linear_class": "autobitlinear",
                "quantization_mode": "offline",
            },
        }  # fmt: skip
    return said | {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False,
        "rope_scaling": None, "is_bitnet_config": True,
        "quantization_config": {"quant_method": "bitnet", "modules_to_not_convert": None},
    }  # fmt: skip


def _write_json(path: Path, said: object) -> None:
    path.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _byte_level(count: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Return so many tokens in GPT-2's alphabet, bytes first, and the merges that give the rest."""
    letters = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 324))]
    tokens, merges = letters[:count], []
    known = set(tokens)
    first = second = 0
    while len(tokens) < count:
        left, right = tokens[first], tokens[second]
        first, second = (first, second + 1) if second < first else (first + 1, 0)
        if left + right not in known:
            known.add(left + right)
            tokens.append(left + right)
            merges.append((left, right))
    return tokens, merges


def _write_tokenizer(path: Path, vocabulary: int) -> None:
    """Write a byte-level BPE of this size: the last 256 tokens are special, the others merges."""
    tokens, merges = _byte_level(max(1, vocabulary - 256))
    special = [f"<|special_{number}|>" for number in range(vocabulary - len(tokens))]
    numbers = {token: number for number, token in enumerate([*tokens, *special])}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}  # fmt: skip
    said = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None,
        "added_tokens": [
            {"id": numbers[token], "content": token, "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False, "special": True}
            for token in special
        ],
        "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "vocab": numbers, "merges": merges,
        },
    }  # fmt: skip
    path.write_text(json.dumps(said, ensure_ascii=False), encoding="utf-8")


# ---- GGUF ------------------------------------------------------------------------------------


def _gguf_tensors(model: Model) -> list[Tensor]:
    """Return the tensors of a Bonsai file: everything Q1_0 but the norms."""
    table = (model.vocabulary, model.hidden)
    matrices = {"model.embed_tokens": table, "lm_head": table, **model.matrices()}
    signs = [
        Tensor(_gguf_name(name), "Q1_0", (n, k), n * k // Q1_0_BLOCK * Q1_0_BYTES, "signs")
        for name, (n, k) in matrices.items()
    ]
    norms = model.norms().items()
    return signs + [Tensor(_gguf_name(n), "F32", (size,), 4 * size, "ones") for n, size in norms]


def _gguf_name(name: str) -> str:
    return gguf_file.gguf_name(f"{name}.weight")


def _gguf_facts(model: Model) -> Mapping[str, Any]:
    facts = {
        "block_count": model.layers, "context_length": model.context,
        "embedding_length": model.hidden, "feed_forward_length": model.inner,
        "attention.head_count": model.heads, "attention.head_count_kv": model.kv_heads,
        "attention.key_length": model.head_size, "attention.value_length": model.head_size,
        "attention.layer_norm_rms_epsilon": 1e-06, "rope.freq_base": 1000000.0,
    }  # fmt: skip
    return {
        "general.architecture": "qwen3", "general.name": model.name,
        **{f"qwen3.{key}": value for key, value in facts.items()},
        **_gguf_tokenizer(model.vocabulary),
    }  # fmt: skip


def _gguf_tokenizer(vocabulary: int) -> dict[str, Any]:
    """Return a tokenizer as Qwen3's is: its last 293 tokens are 26 special ones and padding."""
    tokens, merges = _byte_level(vocabulary - QWEN3_BEHIND)
    special = [f"<|special_{number}|>" for number in range(QWEN3_SPECIAL)]
    padding = [f"[PAD{number}]" for number in range(len(tokens) + len(special), vocabulary)]
    kinds = {NORMAL: tokens, CONTROL: special, UNUSED: padding}
    return {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": [token for each in kinds.values() for token in each],
        "tokenizer.ggml.token_type": [kind for kind, each in kinds.items() for _ in each],
        "tokenizer.ggml.merges": [" ".join(merge) for merge in merges],
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.bos_token_id": len(tokens),
        "tokenizer.ggml.eos_token_id": len(tokens) + 2,
    }  # fmt: skip


def _write_gguf(path: Path, model: Model) -> None:
    """Write a GGUF a piece at a time."""
    tensors, rng = _gguf_tensors(model), np.random.default_rng(0)
    kinds = {"Q1_0": gguf_file.Q1_0, "F32": gguf_file.F32}
    places = {t.name: (kinds[t.dtype], t.shape, t.nbytes) for t in tensors}
    with path.open("wb") as file:
        file.write(gguf_file.head(_gguf_facts(model), places))
        for tensor in tensors:
            file.writelines(_pieces(tensor, rng))
            file.write(gguf_file.padding(tensor.nbytes))


@click.command()
@click.argument("name", type=click.Choice(list(MODELS)))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--toy", is_flag=True, help="The same model in a small size.")
def main(name: str, folder: Path, toy: bool) -> None:
    """Write the model NAME into the new FOLDER and print what `bitexport build` takes."""
    click.echo(generate((TOYS if toy else MODELS)[name], folder))


if __name__ == "__main__":
    main()
