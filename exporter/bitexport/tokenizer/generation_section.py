"""Writes section 11 of a .bitx file (targets/FORMAT.md, 3.11): how the model asks to be sampled.

That is what generation_config.json says, or the metadata of a GGUF under `general.sampling`, which
llama.cpp introduced (ggml-org/llama.cpp, pull request 17120).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

from bitexport.errors import CheckpointError
from bitexport.tokenizer.find import GENERATION as FILE

ALL = 0xFFFFFFFF
SAMPLE = 1


GGUF = "general.sampling."
GGUF_NAMES = {
    "temperature": "temp", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}  # fmt: skip


def generation_of_gguf(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what a GGUF says in the words of generation_config.json; None when nothing.

    A GGUF that names any of them is sampled; `top_k` below 1 is every token there.
    """
    found = {
        name: metadata[GGUF + key] for name, key in GGUF_NAMES.items() if GGUF + key in metadata
    }
    top_k = found.get("top_k")
    if type(top_k) is int and top_k < 0:
        found["top_k"] = 0
    return {**found, "do_sample": True} if found else None


def left_out_of_gguf(metadata: Mapping[str, Any]) -> list[str]:
    """Return what a GGUF says about sampling that a device does not do."""
    known = {GGUF + key for key in GGUF_NAMES.values()}
    return sorted(key for key in metadata if key.startswith(GGUF) and key not in known)


def generation_section(config: Mapping[str, Any], source: str = FILE) -> bytes:
    """Return the section; what the source does not say changes nothing of the model's choice."""
    try:
        return _packed(config)
    except ValueError as error:
        what, hint = error.args
        raise CheckpointError(f"{source}: {what}", hint=hint) from error


def _packed(config: Mapping[str, Any]) -> bytes:
    temperature = _number(config, "temperature", 1.0, 0.0, math.inf)
    sample = bool(config.get("do_sample")) and temperature > 0
    top_k = int(_number(config, "top_k", 0, 0, ALL - 1))
    return struct.pack(
        "<IfIfffff32x",
        SAMPLE if sample else 0,
        temperature or 1.0,
        top_k or ALL,
        _number(config, "top_p", 1.0, 0.0, 1.0) or 1.0,
        _number(config, "min_p", 0.0, 0.0, 1.0),
        _positive(config, "repetition_penalty"),
        0.0,
        0.0,
    )


def _number(
    config: Mapping[str, Any], key: str, default: float, least: float, most: float
) -> float:
    value = config.get(key)
    if value is None:
        return default
    if type(value) not in (int, float) or not (least <= value <= most and math.isfinite(value)):
        raise ValueError(f"`{key}` is {value!r}", f"a number from {least:g} to {most:g} is asked")
    return float(value)


def _positive(config: Mapping[str, Any], key: str) -> float:
    value = _number(config, key, 1.0, 0.0, float(struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]))
    if value == 0:
        raise ValueError(f"`{key}` is 0", "1 leaves the choice as it is")
    return value
