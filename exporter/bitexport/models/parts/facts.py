"""What a program may ask about a model without running it."""

from __future__ import annotations

import dataclasses
from typing import Any

from bitexport.checkpoints.checkpoint import Checkpoint
from bitexport.errors import CheckpointError
from bitexport.models.parts.family import Family
from bitexport.models.parts.shape import Config

MOST_END_TOKENS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts section of the file (targets/FORMAT.md, section 3.1), and what it does not keep."""

    name: str
    family: str
    vocabulary: int = 0
    context: int = 0
    hidden: int = 0
    layers: int = 0
    heads: int = 0
    kv_heads: int = 0
    head_size: int = 0
    bos: int | None = None
    eos: tuple[int, ...] = ()
    tokens: str | None = None
    logits: str | None = None
    container: str = ""
    """What the checkpoint was stored in."""
    activations: str = ""
    """What layers of small integers multiply."""
    activations_because: str = ""


def facts_of(checkpoint: Checkpoint, family: Family, config: Config) -> Facts:
    """Return the facts of a checkpoint, or refuse tokens and a name that no file can say."""
    said, where = checkpoint.config, checkpoint.config_file
    bos, ends = said.get("bos_token_id"), said.get("eos_token_id")
    eos: list[Any] = ends if isinstance(ends, list) else [] if ends is None else [ends]
    for token in [*eos, *([] if bos is None else [bos])]:
        if type(token) is not int or not 0 <= token < config.vocabulary:
            raise CheckpointError(
                f"{where}: special token {token!r} is not below "
                f"{config.vocabulary}, the size of the vocabulary",
                hint="`bos_token_id` and `eos_token_id` are tokens of the model",
            )
    if len(eos) > MOST_END_TOKENS:
        raise CheckpointError(
            f"{where}: `eos_token_id` names {len(eos)} tokens, at most {MOST_END_TOKENS} are kept",
            hint="name the ones that a text ends with",
        )
    name = str(said.get("_name_or_path") or checkpoint.path.resolve().name)
    if not name.isprintable():
        raise CheckpointError(
            f"{where}: `_name_or_path` {name!r} cannot be printed",
            hint="the model is called by this name; give it a plain one",
        )
    return Facts(
        name=name, family=family.name,
        vocabulary=config.vocabulary, context=config.context, hidden=config.hidden,
        layers=config.layers, heads=config.heads, kv_heads=config.kv_heads,
        head_size=config.size, bos=bos, eos=tuple(eos), tokens="input_ids", logits="logits",
        container=checkpoint.container, activations=config.quantization.activations,
        activations_because=config.quantization.because,
    )  # fmt: skip
