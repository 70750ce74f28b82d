"""What the user may choose about a model that its checkpoint leaves open."""

from __future__ import annotations

import dataclasses
from typing import Literal

Embedding = Literal["f32", "bf16", "q8"]
Cache = Literal["f32", "f16"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Numerics that are stated in the manifest and measured by `verify --against`."""

    embedding: Embedding | None = None
    """None: as the checkpoint stores it (bf16, or else f32)."""
    cache: Cache = "f16"
    context: int | None = None
