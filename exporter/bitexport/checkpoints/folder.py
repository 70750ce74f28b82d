"""A checkpoint folder as Hugging Face lays it out: config.json, safetensors (one or sharded)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitexport.checkpoints.json_object import parse_object
from bitexport.checkpoints.safetensors_file import StoredTensor, read_header
from bitexport.errors import CheckpointError

INDEX = "model.safetensors.index.json"


@dataclasses.dataclass(frozen=True)
class CheckpointFolder:
    """An opened checkpoint: its configuration and where its tensors lie."""

    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]

    def tensor(self, name: str, dtypes: tuple[str, ...], shape: tuple[int, ...]) -> StoredTensor:
        """Return a tensor that must exist, in one of the dtypes and with that shape."""
        tensor = self.tensors.get(name)
        if tensor is None:
            raise CheckpointError(
                f"{self.path}: tensor `{name}` is missing",
                hint="its config.json promises it; is the checkpoint complete?",
            )
        if tensor.dtype not in dtypes:
            raise CheckpointError(
                f"{tensor.file}: tensor `{name}` is {tensor.dtype}, expected {' or '.join(dtypes)}",
                hint="only packed ternary checkpoints can be exported without changing them",
            )
        if tensor.shape != shape:
            raise CheckpointError(
                f"{tensor.file}: tensor `{name}` has shape {list(tensor.shape)}, "
                f"config.json promises {list(shape)}",
                hint="config.json and the weights belong to different models",
            )
        return tensor

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of config and weight files by name: where a bundle came from."""
        files = {self.path / "config.json", *(tensor.file for tensor in self.tensors.values())}
        found = {}
        for file in sorted(files):
            with file.open("rb") as stream:
                found[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
        return found


def open_checkpoint(path: Path) -> CheckpointFolder:
    """Open a checkpoint folder; nothing but headers is read."""
    if not path.is_dir():
        raise CheckpointError(
            f"{path}: no such checkpoint folder",
            hint="give the folder that holds config.json and model.safetensors",
        )
    config = _read_json(path / "config.json")
    if (path / INDEX).is_file():
        files = _shards(path)
    elif (path / "model.safetensors").is_file():
        files = [path / "model.safetensors"]
    else:
        raise CheckpointError(
            f"{path}: holds neither model.safetensors nor {INDEX}",
            hint="pickled weights (.bin, .pt) are not read; save the model as safetensors",
        )
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        for name, tensor in read_header(file).items():
            if name in tensors:
                raise CheckpointError(
                    f"{file}: tensor `{name}` is also in {tensors[name].file.name}",
                    hint="the folder mixes the shards of two checkpoints",
                )
            tensors[name] = tensor
    return CheckpointFolder(path, config, tensors)


def _shards(path: Path) -> list[Path]:
    table = _read_json(path / INDEX).get("weight_map")
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


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return parse_object(path.read_bytes())
    except OSError as error:
        raise CheckpointError(
            f"{path}: {error.strerror}", hint="a checkpoint folder holds config.json"
        ) from None
    except ValueError as error:
        raise CheckpointError(
            f"{path}: not a JSON object: {error}", hint="copy or download the file again"
        ) from None
