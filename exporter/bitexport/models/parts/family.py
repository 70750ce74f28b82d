"""A family of models: what distinguishes it among decoders shaped like Llama."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Literal

from bitexport.checkpoints.checkpoint import Checkpoint
from bitexport.checkpoints.decode import Scheme

Gate = Literal["relu2", "silu"]
FIRST_LAYER = re.compile(r"model\.layers\.0\.((?:\w+\.)?\w*(?:(?:norm|_ln)\.weight|_proj\.bias))")
PARTS = ("self_attn", "mlp")
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
        found += [f"{checkpoint.path}: {misfit}" for misfit in self.strange_tensors(checkpoint)]
        return tuple(found)

    def strange_tensors(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """Return what the first layer lacks of this family, then what it has beside it."""
        matches = map(FIRST_LAYER.fullmatch, checkpoint.tensors)
        there = {match[1] for match in matches if match} - {"rms_norm.weight"}
        wanted = {f"{norm}.weight" for norm in self.norms}
        wanted |= {f"self_attn.{projection}.bias" for projection in self.biased}
        keys = [names for key, names in self.bias_keys.items() if checkpoint.config.get(key)]
        may_be = {f"{part}.{name}.bias" for names in keys for name in names for part in PARTS}
        missing = (f"tensor `model.layers.0.{name}` is missing" for name in sorted(wanted - there))
        strange = (
            f"nothing in this family of models computes with `model.layers.0.{name}`"
            for name in sorted(there - wanted - may_be)
        )
        return (*missing, *strange)
