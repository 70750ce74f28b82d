"""Writes what llama.cpp runs where we run a packed checkpoint: random trits as TQ2_0, head as Q8_0.

The file is what `llama-quantize --token-embedding-type q8_0 ... TQ2_0` makes of such a model, with
random bytes: every code is valid, and no activation overflows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from samples.families import gguf_file
from tests.full_size.generate import TRIT_BYTES, Model

Q8_0 = 8
TABLE, MATRIX, NORM = Q8_0, gguf_file.TQ2_0, gguf_file.F32
WEIGHTS = {Q8_0: 32, gguf_file.TQ2_0: 256, gguf_file.F32: 1}  # a block
BYTES = {Q8_0: 34, gguf_file.TQ2_0: 66, gguf_file.F32: 4}
BLOCKS_AT_ONCE = 1 << 16
VOCABULARY = "no_vocab"  # llama.cpp's word: it is timed with tokens by number


def write(model: Model, path: Path) -> None:
    """Write the model; the same model gives the same bytes."""
    kinds = {"model.embed_tokens": (TABLE, (model.vocabulary, model.hidden))}
    kinds |= {name: (MATRIX, shape) for name, shape in model.matrices().items()}
    kinds |= {name: (NORM, (columns,)) for name, columns in model.norms().items()}
    places = {
        gguf_file.gguf_name(f"{name}.weight"): (kind, shape, size_of(kind, shape))
        for name, (kind, shape) in kinds.items()
    }
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(gguf_file.head(metadata(model), places))
        for kind, _, size in places.values():
            file.writelines(pieces(kind, size // BYTES[kind], rng))
            file.write(gguf_file.padding(size))


def size_of(kind: int, shape: tuple[int, ...]) -> int:
    """Return the bytes of a tensor."""
    return int(np.prod(shape)) // WEIGHTS[kind] * BYTES[kind]


def pieces(kind: int, blocks: int, rng: np.random.Generator) -> Iterator[bytes]:
    """Yield the bytes of so many blocks."""
    for start in range(0, blocks, BLOCKS_AT_ONCE):
        yield piece(kind, min(BLOCKS_AT_ONCE, blocks - start), rng)


def piece(kind: int, blocks: int, rng: np.random.Generator) -> bytes:
    """Return some blocks: ones for a norm; integers and their scale for the others."""
    if kind == NORM:
        return np.ones(blocks, "<f4").tobytes()
    block = np.frombuffer(rng.bytes(blocks * BYTES[kind]), np.uint8).reshape(blocks, -1).copy()
    scale = np.array([1 / 64 if kind == MATRIX else 2**-12], "<f2").view(np.uint8)
    if kind == MATRIX:  # 64 bytes of four codes, 0 to 2; the scale
        block[:, :-2] = np.resize(TRIT_BYTES, 256)[block[:, :-2]]
        block[:, -2:] = scale
    else:  # the scale; 32 integers
        block[:, :2] = scale
    return block.tobytes()


def metadata(model: Model) -> dict[str, str | int | float]:
    """Return what llama.cpp asks of a `bitnet`; it has SiLU where the model has the square of Relu.

    The difference in time is below what can be measured.
    """
    facts = {
        "block_count": model.layers, "context_length": model.context,
        "embedding_length": model.hidden, "feed_forward_length": model.inner,
        "attention.head_count": model.heads, "attention.head_count_kv": model.kv_heads,
        "attention.layer_norm_rms_epsilon": 1e-05, "rope.dimension_count": model.head_size,
        "rope.freq_base": 500000.0, "vocab_size": model.vocabulary,
    }  # fmt: skip
    return {
        "general.architecture": "bitnet", "general.name": model.name,
        **{f"bitnet.{key}": value for key, value in facts.items()},
        "tokenizer.ggml.model": VOCABULARY,
    }  # fmt: skip
