"""Model families: one file each, named after `model_type` in config.json."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import cast

import onnx_ir as ir

from bitexport.checkpoints.folder import CheckpointFolder
from bitexport.errors import CheckpointError
from bitexport.models.options import Options

BuildGraph = Callable[[CheckpointFolder, Options], ir.Model]


def families() -> list[str]:
    """Return the model types that can be built."""
    found = (m.name for m in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if name not in ("graph", "options", "rope_tables"))


def build_graph(checkpoint: CheckpointFolder, options: Options) -> ir.Model:
    """Build the unfused graph of a checkpoint, weights still where they are."""
    family = checkpoint.config.get("model_type")
    if family not in families():
        raise CheckpointError(
            f"{checkpoint.path / 'config.json'}: model_type `{family}` is not supported",
            hint=f"supported: {', '.join(families())}",
        )
    module = importlib.import_module(f"{__name__}.{family}")
    return cast(BuildGraph, module.build_graph)(checkpoint, options)
