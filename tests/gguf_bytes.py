"""A GGUF file from its parts, sound or not: every number that a reader trusts can be set."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 32
NUMBERS = {
    "u8": (0, "<B"), "i8": (1, "<b"), "u16": (2, "<H"), "i16": (3, "<h"), "u32": (4, "<I"),
    "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?"), "u64": (10, "<Q"), "i64": (11, "<q"),
    "f64": (12, "<d"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Raw:
    """A tensor as it lies in the file; the shape with the columns last."""

    kind: int
    shape: tuple[int, ...]
    data: bytes
    offset: int | None = None
    """Where the head says that it lies, if that is a lie."""


def text(value: str | bytes) -> bytes:
    """Return a string: a u64 length and its bytes."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def typed(kind: str, value: Any) -> bytes:
    """Return a value of a metadata key: its type, then itself."""
    if kind == "str":
        return struct.pack("<I", 8) + text(value)
    if kind.startswith("["):
        items = [typed(kind[1:-1], item) for item in value]
        head = items[0][:4] if items else struct.pack("<I", 8)
        body = b"".join(item[4:] for item in items)
        return struct.pack("<I", 9) + head + struct.pack("<Q", len(items)) + body
    number, form = NUMBERS[kind]
    return struct.pack("<I", number) + struct.pack(form, value)


def key(name: str | bytes, value: bytes) -> bytes:
    """Return an entry of the metadata."""
    return text(name) + value


def head_bytes(keys: list[bytes], tensors: Mapping[str, Raw], version: int = 3) -> bytes:
    """Return everything before the data, offsets counted from its aligned end."""
    entries, at = [], 0
    for name, raw in tensors.items():
        rank = len(raw.shape)
        place = at if raw.offset is None else raw.offset
        entries.append(
            text(name)
            + struct.pack(f"<I{rank}Q", rank, *reversed(raw.shape))
            + struct.pack("<IQ", raw.kind, place)
        )
        at += len(raw.data) + -len(raw.data) % ALIGNMENT
    counts = struct.pack("<IQQ", version, len(tensors), len(keys))
    return b"GGUF" + counts + b"".join(keys) + b"".join(entries)


def gguf_bytes(keys: list[bytes], tensors: Mapping[str, Raw], version: int = 3) -> bytes:
    """Return a whole file; the last tensor is padded, too."""
    head = head_bytes(keys, tensors, version)
    data = b"".join(raw.data + bytes(-len(raw.data) % ALIGNMENT) for raw in tensors.values())
    return head + bytes(-len(head) % ALIGNMENT) + data


def floats(values: NDArray[Any], kind: int = 0) -> Raw:
    """Return floats as F32 (0), F16 (1) or BF16 (30)."""
    if kind == 30:
        patterns = (values.astype("<f4").view("<u4") >> 16).astype("<u2")
        return Raw(kind, values.shape, patterns.tobytes())
    return Raw(kind, values.shape, values.astype("<f4" if kind == 0 else "<f2").tobytes())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes of a small language model."""

    hidden: int = 256
    inner: int = 512
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 64
    layers: int = 1
    vocabulary: int = 24


def model_keys(architecture: str, sizes: Sizes, **more: tuple[str, Any]) -> list[bytes]:
    """Return the metadata of a model; `more` are keys of the architecture, dots as two bars."""
    own = {
        "context_length": ("u32", 128), "embedding_length": ("u32", sizes.hidden),
        "block_count": ("u32", sizes.layers), "feed_forward_length": ("u32", sizes.inner),
        "attention.head_count": ("u32", sizes.heads),
        "attention.head_count_kv": ("u32", sizes.kv_heads),
        "attention.key_length": ("u32", sizes.head_size),
        "attention.value_length": ("u32", sizes.head_size),
        "attention.layer_norm_rms_epsilon": ("f32", 1e-5), "rope.freq_base": ("f32", 500000.0),
        "rope.dimension_count": ("u32", sizes.head_size), "vocab_size": ("u32", sizes.vocabulary),
    }  # fmt: skip
    own |= {name.replace("__", "."): value for name, value in more.items()}
    said = {"general.architecture": ("str", architecture), "general.name": ("str", "small")}
    said |= {f"{architecture}.{name}": value for name, value in own.items()}
    said |= {
        "tokenizer.ggml.bos_token_id": ("u32", 1),
        "tokenizer.ggml.eos_token_id": ("u32", 2),
        "tokenizer.ggml.tokens": ("[str]", [f"t{i}" for i in range(sizes.vocabulary)]),
    }
    return [key(name, typed(kind, value)) for name, (kind, value) in said.items()]


def write_model(
    path: Path, architecture: str, tensors: Mapping[str, Raw], sizes: Sizes | None = None,
    **more: tuple[str, Any],
) -> Path:  # fmt: skip
    """Write a file with these tensors beside an embedding; nothing else is complete."""
    sizes = sizes or Sizes()
    table = floats(np.zeros((sizes.vocabulary, sizes.hidden), np.float32))
    whole = {"token_embd.weight": table, **tensors}
    path.write_bytes(gguf_bytes(model_keys(architecture, sizes, **more), whole))
    return path
