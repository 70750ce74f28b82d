"""What the user may choose about a model that its checkpoint leaves open."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

Form = Literal["f32", "f16", "bf16", "q8", "q4"]
"""How a matrix is stored that is float in the checkpoint; q8 and q4: NUMERICS.md, section 7."""
ActivationKind = Literal["int8", "int8-group", "int16", "int4"]
HeadActivations = Literal["int8", "int16"]
Cache = Literal["f32", "f16", "int8"]
Ternarize = Literal["absmean"]
TernaryLayout = Literal["p2r", "p2b", "t5x3", "p16"]
"""How trits lie in the file, where columns are not cut into groups: FORMAT.md, section 3.3."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Numerics that are stated in the manifest and measured by `verify --against`."""

    embedding: Form | None = None
    """Embedding and head; None: as the checkpoint stores them."""
    activations: ActivationKind | None = None
    """Of layers whose weights are small integers; None: as the family was trained."""
    head_activations: HeadActivations | None = None
    """Of a head whose weights are small integers; None: int16 where other layers have it."""
    precision: tuple[tuple[str, Form], ...] = ()
    """(pattern, form): matrices by name, the last pattern that matches wins."""
    cache: Cache = "f16"
    context: int | None = None
    family: str | None = None
    """None: the one that the checkpoint belongs to."""
    container: str | None = None
    """None: the one that the files are in."""
    ternarize: Ternarize | None = None
    """Make trits of the linear layers of a float model."""
    layout: TernaryLayout | None = None
    """None: the target's own."""
    keep_float: bool = False
    """Leave them float: the twin that --ternarize is measured against."""

    def chosen(self) -> dict[str, Any]:
        """Return what was chosen by name; without what the checkpoint decides."""
        fields = dataclasses.asdict(self)
        del fields["keep_float"]
        return {name: value for name, value in fields.items() if value not in (None, ())}
