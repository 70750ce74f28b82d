"""A checkpoint, whatever holds it: one way to say its configuration, names and order of rows.

The container is told by what the files hold, never by how they are called.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitexport.checkpoints import folder, gguf_file, gguf_model
from bitexport.checkpoints.stored_tensor import StoredTensor
from bitexport.errors import CheckpointError

SAFETENSORS, SHARDED, GGUF = CONTAINERS = ("safetensors", "sharded", "gguf")
MOST_NAMED = 8


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint: its configuration and where its tensors lie."""

    path: Path
    """The folder, or the .gguf file."""
    container: str
    """One of CONTAINERS."""
    config: Mapping[str, Any]
    """As config.json of transformers says it; that of a GGUF is told from its metadata."""
    tensors: Mapping[str, StoredTensor]
    """By the names and with the order of rows of transformers."""
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What a GGUF says of itself, by its own keys: the tokenizer, for one."""

    @property
    def config_file(self) -> Path:
        """The file that the configuration is read from, for messages."""
        return self.path if self.container == GGUF else self.path / "config.json"

    def tensor(self, name: str, dtypes: tuple[str, ...], shape: tuple[int, ...]) -> StoredTensor:
        """Return a tensor that must exist, in one of the dtypes and with that shape."""
        tensor = self.tensors.get(name)
        if tensor is None:
            raise CheckpointError(
                f"{self.path}: tensor `{name}` is missing",
                hint=f"its {self._promise} promises it; is the checkpoint complete?",
            )
        if tensor.dtype not in dtypes:
            raise CheckpointError(
                f"{tensor.file}: tensor {tensor.title} is {tensor.dtype}, "
                f"expected {' or '.join(dtypes)}",
                hint="weights are taken as they are stored, never converted silently",
            )
        if tensor.shape != shape:
            raise CheckpointError(
                f"{tensor.file}: tensor {tensor.title} has shape {list(tensor.shape)}, "
                f"{self._promise} promises {list(shape)}",
                hint=f"{self._promise} and the weights belong to different models",
            )
        return tensor

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of config and weight files by name: where a bundle came from."""
        files = {self.config_file, *(tensor.file for tensor in self.tensors.values())}
        found = {}
        for file in sorted(files):
            with file.open("rb") as stream:
                found[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
        return found

    @property
    def _promise(self) -> str:
        return "metadata" if self.container == GGUF else "config.json"


def open_checkpoint(path: Path, container: str | None = None) -> Checkpoint:
    """Open a checkpoint folder or a GGUF file; nothing but headers is read.

    `container`, one of CONTAINERS, decides where a folder holds more than one.
    """
    assert container is None or container in CONTAINERS, container
    try:
        found = _containers(path)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read: {error.strerror}", hint="give a folder or a .gguf file"
        ) from error
    if container is None and len(found) > 1:
        raise CheckpointError(
            f"{path}: holds a checkpoint as {' and as '.join(found)}",
            hint=f"say which one to read: --container {next(iter(found))}",
        )
    chosen = container or next(iter(found), None)
    if chosen is None or chosen not in found:
        raise _nothing(path, chosen)
    files = found[chosen]
    if chosen == GGUF:
        if len(files) > 1:
            names = " and ".join(f"`{file.name}`" for file in files[:2])
            raise CheckpointError(
                f"{path}: holds {len(files)} GGUF files, {names} among them",
                hint="give the file instead of the folder",
            )
        stored = gguf_file.read_file(files[0])
        model = gguf_model.translate(stored)
        return Checkpoint(files[0], GGUF, model.config, model.tensors, stored.metadata)
    config = folder.read_config(path)
    if chosen == SHARDED:
        files = folder.shards(path)
    return Checkpoint(path, chosen, config, folder.read_tensors(files))


def _containers(path: Path) -> dict[str, list[Path]]:
    """Return what could be opened at a path: files by container."""
    if path.is_file():
        return {GGUF: [path]} if gguf_file.has_magic(path) else {}
    if not path.is_dir():
        return {}
    found: dict[str, list[Path]] = {}
    single = path / folder.SINGLE
    if (path / folder.INDEX).is_file():
        found[SHARDED] = [path / folder.INDEX]
    if single.is_file() and not gguf_file.has_magic(single):
        found[SAFETENSORS] = [single]
    ggufs = [file for file in sorted(path.iterdir()) if file.is_file()]
    ggufs = [file for file in ggufs if gguf_file.has_magic(file)]
    if ggufs:
        found[GGUF] = ggufs
    return found


def _is_checkpoint(path: Path) -> bool:
    """Return whether a folder could be opened; one that cannot be read could not."""
    try:
        return path.is_dir() and bool(_containers(path))
    except OSError:
        return False


def _nothing(path: Path, wanted: str | None) -> CheckpointError:
    if path.is_dir() and wanted is not None:
        return CheckpointError(
            f"{path}: holds no {wanted} checkpoint",
            hint="leave out --container to read what is there",
        )
    if path.is_dir():
        below = [child.name for child in sorted(path.iterdir()) if _is_checkpoint(child)]
        hint = "pickled weights (.bin, .pt) are not read; save the model as safetensors"
        if below:
            hint = f"give one of its folders: {', '.join(below[:MOST_NAMED])}"
            hint += ", …" * (len(below) > MOST_NAMED)
        return CheckpointError(
            f"{path}: holds neither {folder.SINGLE} nor {folder.INDEX} nor a GGUF file", hint=hint
        )
    if path.is_file() and _containers(path.parent):
        return CheckpointError(
            f"{path}: one file of a checkpoint", hint=f"give its folder: {path.parent}"
        )
    if path.is_file():
        return CheckpointError(
            f"{path}: this is no GGUF file",
            hint="give a .gguf file, or the folder that holds config.json and model.safetensors",
        )
    return CheckpointError(
        f"{path}: no such checkpoint folder, and no GGUF file",
        hint="give the folder that holds config.json and model.safetensors, or a .gguf file",
    )
