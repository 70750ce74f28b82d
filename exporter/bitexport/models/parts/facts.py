"""What a program may ask about a model without running it."""

from __future__ import annotations

import dataclasses


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
