"""Every family in every container it is published in: what a row of README's table claims.

`test_families.py` proves each row; the table is rendered from the same rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from tests.families.containers import (
    Write,
    write_biases,
    write_gguf,
    write_gguf_mixed,
    write_masters_bf16,
    write_masters_f32,
    write_mixed,
    write_packed_divide,
    write_packed_multiply,
    write_projection_norms,
    write_sharded,
    write_unpacked,
)
from tests.families.trained import Quantized, Trained, trained

A76 = "cortex-a76"
EMULATED = " °"
"""Behind a container that was verified on an emulated core too."""


@dataclasses.dataclass(frozen=True)
class Published:
    """A family as it is published, and what a build of it promises by default."""

    name: str
    model: str
    """Which model of `samples` stands for it."""
    reads_as: str
    """The family that it is recognised as: a file of exporter/bitexport/models."""
    activations: str
    """What layers of few bits multiply."""
    kl: str
    """The divergence from its own implementation is at most this, in nats per token."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A published family in a container, built with options."""

    published: Published
    container: str
    write: Write
    options: tuple[str, ...] = ()
    activations: str = ""
    """Where the options change them."""
    kl: str = ""
    """Where the options change it."""
    core: str = ""
    """An emulated core that the row is verified on, besides this machine."""
    change: Callable[[Trained], Trained] = lambda model: model
    """What is done to the model before it is written."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "activations", self.activations or self.published.activations)
        object.__setattr__(self, "kl", self.kl or self.published.kl)

    def trained(self) -> Trained:
        """Return the model that is written."""
        return self.change(trained(self.published.model))

    @property
    def name(self) -> str:
        """Return the row as one word, for pytest."""
        words = " ".join((self.published.model, self.container, *self.options))
        return words.replace(",", "").replace("`", "").replace(" ", "-")


def shards_of_columns(model: Trained) -> Trained:
    """Return a model whose output projections came from two shards: a scale for each half."""
    return _rescaled(model, ("o_proj", "down_proj"), 2)


def groups_of_64(model: Trained) -> Trained:
    """Return a model with another scale for each second group of 64 columns."""
    return _rescaled(model, ("_proj", "embed_tokens"), 0)


def _rescaled(model: Trained, names: tuple[str, ...], parts: int) -> Trained:
    """Multiply the scales of every second part of the columns by 33 / 32; 0: parts of 64."""
    low_bit = dict(model.low_bit)
    for name, matrix in model.low_bit.items():
        if name.removesuffix(".weight").endswith(names):
            columns = matrix.values.shape[1]
            scales = matrix.wide(columns // parts if parts else 64).copy()
            scales[:, 1::2] *= np.float32(33 / 32)
            low_bit[name] = Quantized(matrix.values, scales.astype(np.float16).astype(np.float32))
    return dataclasses.replace(model, low_bit=low_bit)


BITNET = Published("microsoft/bitnet-b1.58-2B-4T", "stories", "bitnet", "int8", "2e-4")
ONEBIT = Published("1bitLLM/bitnet_b1_58-large, -xl, -3B", "onebit", "bitnet_llama", "int8", "2e-4")
ONEBIT_GGUF = dataclasses.replace(ONEBIT, reads_as="bitnet")
LLAMA = Published(
    "Llama3-8B-1.58, Falcon3-\\*-1.58bit, Falcon-E", "falcon", "llama", "int8", "4e-4"
)
TRILM = Published("SpectraSuite/TriLM", "trilm", "llama", "int16", "1e-7")
BINARY = Published("Bonsai, 1-bit", "bonsai-binary", "qwen3", "int16", "2e-7")
TERNARY = Published("Bonsai, ternary", "bonsai-ternary", "qwen3", "int16", "2e-7")
QWEN2 = Published("a Qwen2 quantized as `bitnet`", "falcon", "qwen2", "int8", "4e-4")
QWEN3 = Published("a Qwen3 quantized as `bitnet`", "qwen", "qwen3", "int8", "4e-4")

PACKED, SHARDED = "packed, multiplying scale", "packed, in shards with an index"
MIXED = "packed, `modules_to_not_convert`"
ROWS = (
    Row(BITNET, PACKED, write_packed_multiply, core=A76),
    Row(BITNET, "packed, dividing scale", write_packed_divide),
    Row(BITNET, SHARDED, write_sharded(write_packed_multiply)),
    Row(BITNET, "bf16 masters, online", write_masters_bf16),
    Row(BITNET, "GGUF I2_S", write_gguf("bitnet-b1.58", "I2_S")),
    Row(BITNET, "packed, `use_rms_norm`", write_projection_norms),
    Row(BITNET, MIXED, write_mixed),
    Row(BITNET, MIXED, write_mixed, kl="1e-3", core=A76,
        options=("--precision", "*.3.mlp.gate_proj=q4", "--precision", "*.3.mlp.up_proj=q8",
                 "--embedding", "q8")),
    Row(ONEBIT, "f32 masters", write_masters_f32, core=A76),
    Row(ONEBIT_GGUF, "GGUF TQ1_0", write_gguf("bitnet", "TQ1_0")),
    Row(ONEBIT_GGUF, "GGUF TQ2_0", write_gguf("bitnet", "TQ2_0")),
    Row(LLAMA, "packed, dividing scale", write_packed_divide, core=A76),
    Row(LLAMA, PACKED, write_packed_multiply),
    Row(LLAMA, SHARDED, write_sharded(write_packed_divide)),
    Row(LLAMA, "bf16 masters, online", write_masters_bf16),
    Row(LLAMA, "GGUF I2_S, q and k permuted", write_gguf("llama", "I2_S")),
    Row(LLAMA, "packed, dividing scale", write_packed_divide, ("--activations", "int4"),
        activations="int4", kl="4e-2", core=A76),
    Row(TRILM, "f16, unpacked", write_unpacked, core=A76),
    Row(TRILM, "f16, unpacked, shards of columns", write_unpacked, change=shards_of_columns),
    Row(TRILM, "f16, unpacked", write_unpacked, ("--activations", "int8"),
        activations="int8", kl="1e-3"),
    Row(TRILM, "f16, unpacked", write_unpacked, ("--activations", "int8-group"),
        activations="int8-group", kl="5e-4", core=A76),
    Row(TRILM, "GGUF TQ1_0", write_gguf("llama", "TQ1_0")),
    Row(TRILM, "GGUF TQ2_0", write_gguf("llama", "TQ2_0")),
    Row(TRILM, "GGUF TQ2_0", write_gguf("llama", "TQ2_0"),
        ("--embedding", "q4", "--kv-cache", "f32"), kl="1e-2", core=A76),
    Row(TRILM, "GGUF TQ2_0 with Q4_0 and Q8_0", write_gguf_mixed, core=A76),
    Row(BINARY, "GGUF Q1_0", write_gguf("qwen3", "Q1_0"), core=A76),
    Row(BINARY, "GGUF Q1_0", write_gguf("qwen3", "Q1_0"),
        ("--activations", "int8-group", "--head-activations", "int8"),
        activations="int8-group", kl="5e-4", core=A76),
    Row(BINARY, "f16, unpacked", write_unpacked),
    Row(TERNARY, "GGUF Q2_0, groups of 64", write_gguf("qwen3", "Q2_0"),
        core=A76, change=groups_of_64),
    Row(TERNARY, "GGUF Q2_0, groups of 128", write_gguf("qwen3", "Q2_0 of 128")),
    Row(TERNARY, "GGUF PQ2_0", write_gguf("qwen3", "PQ2_0")),
    Row(TERNARY, "f16, unpacked", write_unpacked),
    Row(QWEN2, "packed, dividing scale, biases", write_biases),
    Row(QWEN3, "packed, `use_rms_norm`", write_packed_multiply, core=A76),
)  # fmt: skip


def table() -> str:
    """Return README's table; containers of a family with the same claims share a line."""
    lines = [
        "| published as | read as | containers | options | activations | KL at most |",
        "|---|---|---|---|---|---|",
    ]
    claims: dict[tuple[str, ...], list[str]] = {}
    for row in ROWS:
        options = f"`{' '.join(row.options)}`" if row.options else ""
        claim = (row.published.name, f"`{row.published.reads_as}`", options)
        container = f"{row.container}{EMULATED if row.core else ''}"
        claims.setdefault((*claim, row.activations, row.kl), []).append(container)
    for (name, family, options, activations, kl), containers in claims.items():
        found = "; ".join(containers)
        lines.append(f"| {name} | {family} | {found} | {options} | {activations} | {kl} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
