"""What config.json says, read so that a key we do not compute is refused by its name."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitexport.checkpoints.checkpoint import GGUF, Checkpoint
from bitexport.checkpoints.decode import Scheme
from bitexport.errors import CheckpointError
from bitexport.models.parts.options import ActivationKind, Options
from bitexport.models.parts.rope_tables import Rope

MOST = 1 << 24
SMALLEST, LARGEST = 2.0**-126, 2.0**127  # numbers that float32 holds without losing bits
DAMAGED = "this config.json is damaged, or is not that of the model"
ANOTHER = "another value is another computation; it is refused, never approximated"
TERNARIZE = (
    "--ternarize absmean makes trits of it and prints what that costs; "
    "samples/stories/train.py shows how to train a ternary one"
)
# Keys of Llama-shaped models that change what is computed, with the values that do not.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "alibi": (False,),
    "attention_multiplier": (),
    "attn_logit_softcapping": (),
    "clip_qkv": (),
    "dim_model_base": (),
    "embedding_multiplier": (1,),
    "final_logit_softcapping": (),
    "input_bits": (8,),
    "is_causal": (True,),
    "logit_scale": (1,),
    "logits_scaling": (1,),
    "no_rope_layers": ([],),
    "num_experts": (0, 1),
    "num_local_experts": (0, 1),
    "parallel_attn": (False,),
    "qk_layernorm": (False,),
    "query_pre_attn_scalar": (),
    "residual_multiplier": (1,),
    "rope_interleaved": (False,),
    "scale_depth": (),
    "scale_emb": (1,),
    "use_bidirectional_attention": (False,),
    "use_mrope": (False,),
    "use_qk_norm": (False,),
    "weight_bits": (1,),
}
ROPE_KEYS = frozenset({
    "attention_factor", "beta_fast", "beta_slow", "factor", "high_freq_factor", "low_freq_factor",
    "mscale", "mscale_all_dim", "original_max_position_embeddings", "partial_rotary_factor",
    "rope_theta", "rope_type", "truncate", "type",
})  # fmt: skip
HEAD = "lm_head"
AS_BITNET = "as BitNet was trained"
WEIGHT_ONLY = "only the weights were quantized in training"


@dataclasses.dataclass(frozen=True)
class Said:
    """A configuration, or a part of one, and the file that errors name."""

    where: Path
    values: Mapping[str, Any]
    prefix: str = ""

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value; null is as good as nothing."""
        value = self.values.get(key)
        return default if value is None else value

    def integer(self, key: str, default: int | None = None, least: int = 1) -> int:
        """Return a whole number; a null is refused unless there is a default."""
        value = self.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST:
            raise CheckpointError(
                f"{self.where}: `{self.prefix}{key}` is {value!r}, expected a whole number "
                f"from {least} to {MOST}",
                hint=DAMAGED,
            )
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number above zero that float32 holds; a null is none."""
        value = self.values.get(key, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not SMALLEST <= value <= LARGEST:
            raise CheckpointError(
                f"{self.where}: `{self.prefix}{key}` is {value!r}, expected a number above zero",
                hint=DAMAGED,
            )
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """Return a truth value."""
        return bool(self.one_of(key, (False, True), default))

    def one_of(self, key: str, allowed: tuple[Any, ...], default: Any = None) -> Any:
        """Return a value that is one of these."""
        value = self.get(key, default)
        if not any(type(value) is type(known) and value == known for known in allowed):
            raise self.refused(key, value, allowed)
        return value

    def refused(self, key: str, value: object, allowed: tuple[Any, ...]) -> CheckpointError:
        """Return the error for a key with a value that we do not compute."""
        expected = " or ".join(f"`{one}`" for one in allowed)
        return CheckpointError(
            f"{self.where}: `{self.prefix}{key}` is `{value}`, this version computes {expected}",
            hint=ANOTHER,
        )

    def part(self, key: str) -> Said | None:
        """Return a nested configuration, or None when it is not there."""
        values = self.values.get(key)
        if values is None:
            return None
        if not isinstance(values, dict):
            raise CheckpointError(
                f"{self.where}: `{self.prefix}{key}` is `{values}`, expected an object",
                hint=DAMAGED,
            )
        return Said(self.where, values, f"{self.prefix}{key}.")


def said_in(checkpoint: Checkpoint) -> Said:
    """Return what a checkpoint says about itself."""
    return Said(checkpoint.config_file, checkpoint.config)


def refuse_unknown_computations(said: Said) -> None:
    """Refuse the keys by which relatives of Llama compute something else."""
    for key, neutral in NEUTRAL.items():
        value = said.get(key)
        if value is not None and value not in neutral:
            raise said.refused(key, value, (*neutral, None))


def refuse_windows(said: Said, layers: int, context: int) -> None:
    """Refuse attention that slides, unless the window is as wide as the context."""
    kinds = said.get("layer_types")
    slides = said.flag("use_sliding_window") and said.integer("max_window_layers", 28, 0) < layers
    if isinstance(kinds, list):
        for kind in kinds:
            if kind not in ("full_attention", "sliding_attention"):
                raise said.refused("layer_types", kind, ("full_attention",))
        slides = "sliding_attention" in kinds
    elif kinds is not None:
        raise said.refused("layer_types", kinds, (["full_attention"],))
    if slides:
        window = said.integer("sliding_window", 4096)
        if window < context:
            raise CheckpointError(
                f"{said.where}: `use_sliding_window`: layers see {window} positions, "
                f"this version computes attention over all {context}",
                hint=f"use --context {window} or less: within the window the two are the same",
            )


# ---- quantization ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantization:
    """How the linear layers are read, and what their inputs become."""

    scheme: Scheme
    activations: ActivationKind
    because: str
    """Why these activations."""
    not_converted: tuple[str, ...] = (HEAD,)
    """Patterns of the layers that stay float."""
    norm_epsilon: float | None = None
    """Of a norm before each projection; None: there is none."""

    def converts(self, name: str) -> bool:
        """Whether a layer is quantized (transformers, `should_convert_module`)."""
        return not any(
            re.match(_module(key), name) or name.endswith(key) for key in self.not_converted
        )


def read_quantization(
    checkpoint: Checkpoint, options: Options, floats: Scheme | None, trained: bool
) -> Quantization:
    """Return how `quantization_config` says that the layers are to be read.

    `floats`: how this family reads floats without that key, None if it does not; `trained`:
    whether it was trained with int8 activations even if no key says so.
    """
    said = said_in(checkpoint)
    part = said.part("quantization_config")
    in_gguf = checkpoint.container == GGUF
    trained = trained or said.get("is_bitnet_config") is True
    if options.ternarize or options.keep_float:
        is_float_model = (part is None or in_gguf) and floats is not Scheme.ABSMEAN
        found = _of_floats(said, options, trained, is_float_model=is_float_model)
    elif part is None:
        found = _unquantized(said, floats, trained)
    else:
        found = _in_gguf(part, trained) if in_gguf else _bitnet(part)
    if options.activations:
        because = "you asked for it"
        found = dataclasses.replace(found, activations=options.activations, because=because)
    return found


def _of_floats(
    said: Said, options: Options, trained: bool, *, is_float_model: bool
) -> Quantization:
    if not is_float_model:
        raise CheckpointError(
            f"{said.where}: this model was trained ternary: there is nothing to ternarize",
            hint="build it without --ternarize",
        )
    scheme = Scheme.FLOAT if options.keep_float else Scheme.ABSMEAN
    if trained:
        return Quantization(scheme=scheme, activations="int8", because=AS_BITNET)
    why = "the model was trained without quantized activations"
    return Quantization(scheme=scheme, activations="int16", because=why)


def _unquantized(said: Said, floats: Scheme | None, trained: bool) -> Quantization:
    if floats is None:
        raise CheckpointError(
            f"{said.where}: there is no `quantization_config`: this is a float model, "
            "not a ternary one",
            hint=TERNARIZE,
        )
    if trained:
        return Quantization(scheme=floats, activations="int8", because=AS_BITNET)
    return Quantization(scheme=floats, activations="int16", because=WEIGHT_ONLY)


def _in_gguf(part: Said, trained: bool) -> Quantization:
    """GGUF tensors carry their own type; I2_S is BitNet's, and so are its activations."""
    types = part.get("types", {})
    if trained or "I2_S" in types.values():
        why = AS_BITNET if trained else "I2_S holds models trained as BitNet"
        return Quantization(scheme=Scheme.UNPACKED, activations="int8", because=why)
    return Quantization(scheme=Scheme.UNPACKED, activations="int16", because=WEIGHT_ONLY)


def _bitnet(part: Said) -> Quantization:
    part.one_of("quant_method", ("bitnet",))
    linear = part.one_of("linear_class", ("bitlinear", "autobitlinear"), "bitlinear")
    mode = part.one_of("quantization_mode", ("offline", "online"), "offline")
    scheme = Scheme.DIVIDED
    if linear == "autobitlinear":
        scheme = Scheme.ABSMEAN if mode == "online" else Scheme.MULTIPLIED
    kept = part.get("modules_to_not_convert")
    if kept is None:
        kept = [HEAD]
    if not isinstance(kept, list) or not all(isinstance(key, str) and key for key in kept):
        raise part.refused("modules_to_not_convert", kept, ("a list of names",))
    for key in kept:
        try:
            re.compile(_module(key))
        except re.error as error:
            raise CheckpointError(
                f"{part.where}: `{part.prefix}modules_to_not_convert` holds {key!r}, "
                f"which is no pattern: {error}",
                hint=DAMAGED,
            ) from None
    return Quantization(
        scheme=scheme, activations="int8", not_converted=tuple(kept),
        because=f"as {linear} of `quantization_config` was trained",
        norm_epsilon=part.number("rms_norm_eps", 1e-6) if part.flag("use_rms_norm") else None,
    )  # fmt: skip


def _module(key: str) -> str:
    """Return the pattern of a module and of those inside it."""
    return rf"(?:{key})(?:(?<=\.)|(?=\.|$))"


# ---- rope ------------------------------------------------------------------------------------


def read_rope(said: Said, positions: int, base: float) -> Rope:
    """Return the rotation by `rope_scaling` (old) or `rope_parameters` (new).

    transformers, `modeling_rope_utils.py`: the old key wins, `rope_type` wins over `type`, and a
    base inside wins over `rope_theta` beside.
    """
    outer = said.number("rope_theta", base)
    old, new = said.part("rope_scaling"), said.part("rope_parameters")
    part = old if old and old.values else new or Said(said.where, {}, "rope_parameters.")
    for key in sorted(part.values.keys() - ROPE_KEYS):
        if part.values[key] is not None:
            raise part.refused(key, part.values[key], ("nothing of that name",))
    for place in (said, part):
        factor = place.get("partial_rotary_factor", 1.0)
        if factor != 1.0:
            raise place.refused("partial_rotary_factor", factor, (1.0,))
    kind = part.one_of(
        "rope_type" if part.get("rope_type") is not None else "type",
        ("default", "linear", "llama3", "yarn"), "default",
    )  # fmt: skip
    rope = Rope(base=part.number("rope_theta", outer), kind=kind)
    if kind == "default":
        return rope
    original = positions
    if kind in ("llama3", "yarn"):
        place = said if said.get("original_max_position_embeddings") is not None else part
        original = place.integer("original_max_position_embeddings", positions)
    rope = dataclasses.replace(rope, original=original)
    if kind == "yarn":
        return _read_yarn(part, rope, positions)
    rope = dataclasses.replace(rope, factor=part.number("factor"))
    if kind == "linear":
        return rope
    low, high = part.number("low_freq_factor"), part.number("high_freq_factor")
    if low >= high:
        raise CheckpointError(
            f"{said.where}: `{part.prefix}low_freq_factor` is {low}, "
            f"not below `high_freq_factor`, {high}",
            hint=DAMAGED,
        )
    return dataclasses.replace(rope, low_frequency=low, high_frequency=high)


def _read_yarn(part: Said, rope: Rope, positions: int) -> Rope:
    if rope.base <= 1:
        raise CheckpointError(
            f"{part.where}: `rope_theta` is {rope.base}, yarn wants more than 1", hint=DAMAGED
        )
    implied = positions / rope.original
    factor = implied if part.get("factor") is None else part.number("factor")

    def attention(mscale: float = 1.0) -> float:
        return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0

    if part.get("attention_factor") is not None:
        scale = part.number("attention_factor")
    elif part.get("mscale") and part.get("mscale_all_dim"):
        scale = attention(part.number("mscale")) / attention(part.number("mscale_all_dim"))
    else:
        scale = attention()
    return dataclasses.replace(
        rope, factor=factor, attention=scale, truncate=part.flag("truncate", True),
        beta_fast=part.number("beta_fast") if part.get("beta_fast") else 32.0,
        beta_slow=part.number("beta_slow") if part.get("beta_slow") else 1.0,
    )  # fmt: skip
