"""A checkpoint folder as Hugging Face lays it out: config.json, safetensors (one or sharded)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bitexport.checkpoints.json_object import Settle, parse_object, refuse_twins, settle_twins
from bitexport.checkpoints.safetensors_file import read_header
from bitexport.checkpoints.stored_tensor import StoredTensor
from bitexport.errors import CheckpointError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


def read_config(path: Path) -> dict[str, Any]:
    """Return what the config.json of a folder says."""
    return _read_json(path / "config.json", settle_twins)


def read_tensors(files: Iterable[Path]) -> dict[str, StoredTensor]:
    """Return the tensors of safetensors files by name; nothing but headers is read."""
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        for name, tensor in read_header(file).items():
            if name in tensors:
                raise CheckpointError(
                    f"{file}: tensor `{name}` is also in {tensors[name].file.name}",
                    hint="the folder mixes the shards of two checkpoints",
                )
            tensors[name] = tensor
    return tensors


def shards(path: Path) -> list[Path]:
    """Return the files that the index of a folder names, each of which is there."""
    table = _read_json(path / INDEX, refuse_twins).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        raise CheckpointError(
            f"{path / INDEX}: has no `weight_map` of tensor names to files",
            hint="copy or download the file again",
        )
    there = {file.name for file in path.iterdir()}
    for name in sorted(set(table.values())):
        if name not in there:
            raise CheckpointError(
                f"{path / INDEX}: names the shard `{name}`, which is not in the folder",
                hint="download the missing shard",
            )
    return [path / name for name in sorted(set(table.values()))]


def _read_json(path: Path, settle: Settle) -> dict[str, Any]:
    try:
        return parse_object(path.read_bytes(), settle)
    except OSError as error:
        raise CheckpointError(
            f"{path}: {error.strerror}", hint="a checkpoint folder holds config.json"
        ) from None
    except ValueError as error:
        raise CheckpointError(
            f"{path}: not a JSON object: {error}", hint="copy or download the file again"
        ) from None
