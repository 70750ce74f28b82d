"""Writes section 11 of a .bitx file (targets/FORMAT.md, 3.11): what generation_config.json asks."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

from bitexport.errors import CheckpointError
from bitexport.tokenizer.find import GENERATION as FILE

ALL = 0xFFFFFFFF
SAMPLE = 1


def generation_section(config: Mapping[str, Any]) -> bytes:
    """Return the section; what the file does not say changes nothing of the model's choice."""
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
        raise CheckpointError(
            f"{FILE}: `{key}` is {value!r}", hint=f"a number from {least:g} to {most:g} is asked"
        )
    return float(value)


def _positive(config: Mapping[str, Any], key: str) -> float:
    value = _number(config, key, 1.0, 0.0, float(struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]))
    if value == 0:
        raise CheckpointError(f"{FILE}: `{key}` is 0", hint="1 leaves the choice as it is")
    return value
