"""What shapes the graph of one checkpoint: the sizes and kinds that its configuration says."""

from __future__ import annotations

import dataclasses
import re

from bitexport.checkpoints.checkpoint import Checkpoint
from bitexport.errors import CheckpointError
from bitexport.models.parts.config import (
    HEAD,
    Quantization,
    Said,
    read_quantization,
    read_rope,
    refuse_unknown_computations,
    refuse_windows,
    said_in,
)
from bitexport.models.parts.family import Family, Gate
from bitexport.models.parts.options import ActivationKind, Options
from bitexport.models.parts.rope_tables import Rope

MOST_COLUMNS = 131056  # of an exact sum (NUMERICS.md, section 4)
LAYER = re.compile(r"model\.layers\.\d+\.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What shapes the graph of one checkpoint."""

    vocabulary: int
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    size: int
    context: int
    epsilon: float
    gate: Gate
    tied: bool
    biased: frozenset[str]
    rope: Rope
    quantization: Quantization

    @property
    def head_activations(self) -> ActivationKind:
        """What a head of small integers multiplies where the user does not say."""
        return "int16" if self.quantization.activations == "int16" else "int8"


def read_config(checkpoint: Checkpoint, family: Family, options: Options) -> Config:
    """Check that every key says something that is computed exactly, and read the sizes."""
    said = said_in(checkpoint)
    refuse_unknown_computations(said)
    gate = said.one_of("hidden_act", tuple(family.gates))
    biased = set(family.biased)
    for key, projections in family.bias_keys.items():
        biased |= set(projections) if said.flag(key) else set()
    heads = said.integer("num_attention_heads")
    hidden = said.integer("hidden_size")
    positions = said.integer("max_position_embeddings")
    size = said.integer("head_dim", family.head_size or hidden // heads)
    context = options.context or positions
    config = Config(
        vocabulary=said.integer("vocab_size"),
        hidden=hidden,
        inner=said.integer("intermediate_size"),
        layers=said.integer("num_hidden_layers"),
        heads=heads,
        kv_heads=said.integer("num_key_value_heads", heads),
        size=size,
        context=context,
        epsilon=said.number("rms_norm_eps", family.epsilon),
        gate=family.gates[gate],
        tied=said.flag("tie_word_embeddings"),
        biased=frozenset(biased),
        rope=read_rope(said, positions, family.rope_base),
        quantization=read_quantization(checkpoint, options, family.floats, family.trained_int8),
    )
    _check_sizes(checkpoint, said, config)
    if config.context > positions:
        raise CheckpointError(
            f"{said.where}: the model was made for {positions} positions, not {config.context}",
            hint=f"use --context {positions} or less",
        )
    if family.windows:
        refuse_windows(said, config.layers, context)
    if config.tied and config.quantization.converts(HEAD):
        raise CheckpointError(
            f"{said.where}: `quantization_config.modules_to_not_convert` does not name `{HEAD}`: "
            "the head would quantize the table that embeds the tokens, which is not computed here",
            hint=f"name `{HEAD}` there if the model was trained so",
        )
    return config


def _check_sizes(checkpoint: Checkpoint, said: Said, config: Config) -> None:
    """Refuse sizes that do not fit together, are not those of the weights, or are too large."""
    if config.heads % config.kv_heads or config.size % 2:
        raise CheckpointError(
            f"{said.where}: {config.heads} heads, {config.kv_heads} key/value heads of size "
            f"{config.size} do not fit together",
            hint="query heads share key/value heads evenly, and a head has two halves",
        )
    found = {name.split(".")[2] for name in checkpoint.tensors if LAYER.match(name)}
    if len(found) != config.layers:
        raise CheckpointError(
            f"{said.where}: `num_hidden_layers` is {config.layers}, "
            f"the weights have {len(found)} layers",
            hint="configuration and weights belong to different models",
        )
    widest = max(config.hidden, config.inner, config.heads * config.size)
    if widest > MOST_COLUMNS:
        raise CheckpointError(
            f"{said.where}: a matrix has {widest} columns, exact sums hold {MOST_COLUMNS}",
            hint="such a model cannot be exported",
        )
