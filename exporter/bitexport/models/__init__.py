"""Model families: one file each; a family exists because its file does."""

from __future__ import annotations

import importlib
import pkgutil

import onnx_ir as ir

from bitexport.checkpoints.checkpoint import Checkpoint
from bitexport.errors import CheckpointError
from bitexport.models.parts.decoder import build_decoder
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.family import Family
from bitexport.models.parts.options import Options


def families() -> dict[str, Family]:
    """Return the families that can be built, by name."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg)
    return {name: importlib.import_module(f"{__name__}.{name}").FAMILY for name in names}


def recognise(checkpoint: Checkpoint, forced: str | None = None) -> Family:
    """Return the family of a checkpoint by model type, architectures and names of tensors."""
    known = families()
    if forced is not None:
        if forced not in known:
            raise CheckpointError(
                f"--family {forced}: there is no such family", hint=f"known: {', '.join(known)}"
            )
        _refuse_misfit(checkpoint, known[forced])
        return known[forced]
    misfits = {name: family.misfits(checkpoint) for name, family in known.items()}
    fitting = [name for name, found in misfits.items() if not found]
    if len(fitting) == 1:
        return known[fitting[0]]
    assert not fitting, f"{checkpoint.path}: {fitting} all claim it"
    same_type = [
        name for name in known if checkpoint.config.get("model_type") in known[name].model_types
    ]
    if not same_type:
        types = sorted({kind for family in known.values() for kind in family.model_types})
        raise CheckpointError(
            f"{checkpoint.config_file}: "
            f"model_type `{checkpoint.config.get('model_type')}` is not supported",
            hint=f"supported: {', '.join(types)}; --family forces one of {', '.join(known)}",
        )
    nearest = min(same_type, key=lambda name: len(misfits[name]))
    raise CheckpointError(
        misfits[nearest][0],
        hint=f"else it would be of the family `{nearest}`: {known[nearest].summary}",
    )


def _refuse_misfit(checkpoint: Checkpoint, forced: Family) -> None:
    """Refuse a family with other tensors; whatever config.json calls the model is overruled."""
    misfits = forced.strange_tensors(checkpoint)
    if not misfits:
        return
    try:
        hint = f"leave --family out: it is read as `{recognise(checkpoint).name}`"
    except CheckpointError:
        hint = f"`{forced.name}` is {forced.summary}"
    raise CheckpointError(
        f"--family {forced.name} does not fit {checkpoint.path}: {misfits[0]}", hint=hint
    )


def build_model(checkpoint: Checkpoint, options: Options) -> tuple[ir.Model, Facts]:
    """Build the unfused graph of a checkpoint, weights still where they are."""
    return build_decoder(checkpoint, recognise(checkpoint, options.family), options)
