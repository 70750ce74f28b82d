"""Model families: one file each, named after `model_type` in config.json."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import cast

import onnx_ir as ir

from bitexport.checkpoints.folder import CheckpointFolder
from bitexport.errors import CheckpointError
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.options import Options

BuildModel = Callable[[CheckpointFolder, Options], tuple[ir.Model, Facts]]


def families() -> list[str]:
    """Return the model types that can be built."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg)


def build_model(checkpoint: CheckpointFolder, options: Options) -> tuple[ir.Model, Facts]:
    """Build the unfused graph of a checkpoint, weights still where they are."""
    family = checkpoint.config.get("model_type")
    if family not in families():
        raise CheckpointError(
            f"{checkpoint.path / 'config.json'}: model_type `{family}` is not supported",
            hint=f"supported: {', '.join(families())}",
        )
    module = importlib.import_module(f"{__name__}.{family}")
    return cast(BuildModel, module.build_model)(checkpoint, options)
