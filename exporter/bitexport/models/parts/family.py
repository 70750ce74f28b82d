"""A family of models: what distinguishes it among decoders shaped like Llama."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Literal

from bitexport.checkpoints.checkpoint import Checkpoint
from bitexport.checkpoints.decode import Scheme

Gate = Literal["relu2", "silu"]
FIRST_LAYER_NORM = re.compile(r"model\.layers\.0\.((?:\w+\.)?\w*(?:norm|_ln))\.weight")
COMMON_NORMS = frozenset({"input_layernorm", "post_attention_layernorm"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """Facts about a family, each read in its own implementation."""

    name: str
    summary: str
    model_types: tuple[str, ...]
    architectures: tuple[str, ...]
    gates: Mapping[str, Gate]
    """What `hidden_act` may say, and which gate it is."""
    attention_norm: str | None = None
    """Name of a norm before the output projection of attention."""
    mlp_norm: str | None = None
    """Name of a norm before the down projection."""
    head_norms: bool = False
    """Whether each head of queries and keys is normalised before it is turned."""
    biased: tuple[str, ...] = ()
    """Projections that always have a bias."""
    bias_keys: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Keys of config.json that give projections a bias."""
    head_size: int | None = None
    """Where config.json says none; None: hidden size ÷ heads."""
    rope_base: float = 10000.0
    epsilon: float = 1e-6
    floats: Scheme | None = None
    """How floats are read where no `quantization_config` says; None: they are a float model."""
    trained_int8: bool = False
    """Whether int8 activations are part of the family even where no key says so."""
    windows: bool = False
    """Whether `use_sliding_window` is a key of this family."""

    @property
    def norms(self) -> frozenset[str]:
        """The norms of a layer by name."""
        heads = {"self_attn.q_norm", "self_attn.k_norm"} if self.head_norms else set()
        own = {f"self_attn.{self.attention_norm}"} if self.attention_norm else set()
        own |= {f"mlp.{self.mlp_norm}"} if self.mlp_norm else set()
        return COMMON_NORMS | heads | own

    def misfits(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """Return what a checkpoint says that this family does not; nothing when it belongs to it.

        The first is the one that matters most.
        """
        config, where = checkpoint.config, checkpoint.config_file
        found = []
        kind, classes = config.get("model_type"), config.get("architectures")
        if kind not in self.model_types:
            found.append(f"{where}: model_type `{kind}` is not supported")
        if isinstance(classes, list) and not set(map(str, classes)) & set(self.architectures):
            names = ", ".join(map(str, classes))
            found.append(f"{where}: architectures `{names}` is not `{self.architectures[0]}`")
        matches = map(FIRST_LAYER_NORM.fullmatch, checkpoint.tensors)
        there = {match[1] for match in matches if match} - {"rms_norm"}
        found += [
            f"{checkpoint.path}: tensor `model.layers.0.{name}.weight` is missing"
            for name in sorted(self.norms - there)
        ]
        found += [
            f"{checkpoint.path}: nothing in this family of models computes with "
            f"`model.layers.0.{name}.weight`"
            for name in sorted(there - self.norms)
        ]
        return tuple(found)
