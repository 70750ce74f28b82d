"""JSON as checkpoints use it: one object, no key with two meanings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Settle = Callable[[str, Any, Any], Any]
"""settle(key, first, second) returns what a key that is there twice means, or a ValueError."""


def refuse_twins(key: str, first: Any, second: Any) -> Any:
    """Refuse every key that is there twice."""
    raise ValueError(f"`{key}` is there twice")


def settle_twins(key: str, first: Any, second: Any) -> Any:
    """Let a key be there twice with one value, as the config.json of Llama3-8B-1.58 has it.

    Its `modules_to_not_convert` may be null one time: null says nothing, so the other counts.
    """
    if key == "modules_to_not_convert" and (first is None or second is None):
        return second if first is None else first
    if json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True):
        return first
    raise ValueError(f"`{key}` is there twice, as {first!r} and as {second!r}")


def parse_object(text: bytes, settle: Settle = refuse_twins) -> dict[str, Any]:
    """Return the object that a text holds; anything else is a ValueError that says why."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for key, value in pairs:
            table[key] = settle(key, table[key], value) if key in table else value
        return table

    try:
        said = json.loads(text.decode("utf-8"), object_pairs_hook=once)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(said, dict):
        raise ValueError("it is another value")
    return said
