"""JSON as checkpoints use it: one object, no key twice."""

from __future__ import annotations

import json
from typing import Any


def parse_object(text: bytes) -> dict[str, Any]:
    """Return the object that a text holds; anything else is a ValueError that says why."""
    try:
        said = json.loads(text.decode("utf-8"), object_pairs_hook=_without_twins)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(said, dict):
        raise ValueError("it is another value")
    return said


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"`{key}` is there twice")
        table[key] = value
    return table
