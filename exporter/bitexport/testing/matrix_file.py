"""A matrix in a file: checkpoints x options x targets x cores; bundles that are missing are built.

folder = "bundles"              # beside the file; default: the file's name without .toml

[checkpoints]                   # names, and where they lie, beside the file
stories = "samples/stories/model"

[options]                       # names, and words of `bitexport build`; default: none
default = []
int8-cache = ["--kv-cache", "int8"]

[targets]                       # and the cores of each; of all, where none is named
arm64 = ["cortex-a53"]
host = []

[[leave-out]]                   # what is not built: any of checkpoint, options, target
checkpoint = "stories"
options = "int8-cache"
target = "host"
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bitexport import __version__
from bitexport.errors import BundleError, CheckpointError
from bitexport.evaluate.work import manifest_digest
from bitexport.targets import find_target

KEYS = {"folder", "checkpoints", "options", "targets", "leave-out"}
FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
AXES = ("checkpoint", "options", "target")
EXAMPLE = "the README of bitexport has an example, under `Every bundle at once`"
SET_BY_MATRIX = frozenset({"--target", "-o", "--output", "--force", "--no-library"})

Cell = tuple[dict[str, str], str, list[str], tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Build:
    """One bundle that is to be there, in the words of `bitexport build`."""

    bundle: str
    checkpoint: str
    digest: str
    """Of every file that the bundle is built from."""
    target: str
    words: tuple[str, ...]
    cores: tuple[str, ...]
    folder: str
    """Where the words are read: that of the matrix."""
    version: str = __version__

    @property
    def key(self) -> str:
        """A name for what is built: equal for equal inputs, wherever they lie."""
        facts = ["build", self.digest, self.target, *self.words]
        return hashlib.sha256(json.dumps([*facts, self.version]).encode()).hexdigest()[:32]

    @property
    def command(self) -> list[str]:
        """The words behind `bitexport`."""
        asked = ["build", self.checkpoint, "--target", self.target, "-o", self.bundle, "--force"]
        return [*asked, *self.words]

    def refusal(self) -> str | None:
        """Say why it cannot be built on this machine as it was meant."""
        try:
            same = inputs_digest(Path(self.checkpoint), Path(self.folder), self.words)
        except OSError as error:
            return f"{self.checkpoint}: {error.strerror} on this worker"
        return None if same == self.digest else f"{self.checkpoint}: is another on this worker"

    def read(self, said: str) -> dict[str, Any]:
        """Return what is kept of a build that went well."""
        return {"bundle": said.strip(), "manifest": manifest_digest(Path(self.bundle))}

    def holds(self, report: Mapping[str, Any]) -> bool:
        """Return whether the bundle that was built then still lies there."""
        try:
            return report.get("manifest") == manifest_digest(Path(self.bundle))
        except OSError:
            return False


def inputs_digest(checkpoint: Path, folder: Path, words: Sequence[str]) -> str:
    """Return a digest of all files of a checkpoint, and of those that the words name."""
    files = sorted(checkpoint.rglob("*")) if checkpoint.is_dir() else [checkpoint]
    if checkpoint.suffix == ".onnx":  # its data may lie in files beside it
        files = sorted(checkpoint.parent.glob(f"{checkpoint.stem}*"))
    named = [folder / word.rpartition("=")[2] for word in words]
    whole = hashlib.sha256()
    for file in (*files, *named):
        if file.is_file():
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            whole.update(f"{file.name} {digest}\n".encode())
    return whole.hexdigest()


def read_matrix(path: Path) -> tuple[Path, list[Build]]:
    """Read a matrix; return the folder of the bundles, and what is to be built, in its order."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}", hint=EXAMPLE) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: {error}", hint="a matrix is TOML 1.0") from error
    _refuse_shape(path, said)
    here = path.parent.resolve()
    folder = (here / said.get("folder", path.stem)).resolve()
    cells, left_out = list(_cells(said)), said.get("leave-out", [])
    for each in left_out:
        if not any(case | each == case for case, *_ in cells):
            names = ", ".join(f"{axis} `{name}`" for axis, name in each.items())
            raise BundleError(
                f"{path}: `leave-out` of {names} leaves nothing out",
                hint="its names are those of the tables above it",
            )
    builds = []
    for case, checkpoint, words, cores in cells:
        if any(case | each == case for each in left_out):
            continue
        source = here / checkpoint
        if not source.exists():
            raise CheckpointError(f"{path}: `{source}` is not there", hint=EXAMPLE)
        bundle = folder.joinpath(*(name for name in case.values() if name))
        digest = inputs_digest(source, here, words)
        builds.append(
            Build(str(bundle), str(source), digest, case["target"], tuple(words), cores, str(here))
        )
    if not builds:
        raise BundleError(f"{path}: everything is left out", hint="take a `leave-out` away")
    return folder, builds


def _cells(said: Mapping[str, Any]) -> Iterator[Cell]:
    """Yield the names of each cell, its checkpoint, its words, and its cores."""
    for name, checkpoint in said["checkpoints"].items():
        for option, words in said.get("options", {"": []}).items():
            for target, cores in said["targets"].items():
                own = find_target(target)
                for core in cores:
                    own.expected_isas(core)
                case = dict(zip(AXES, (name, option, target), strict=True))
                yield case, checkpoint, words, tuple(cores or own.cores)


def _refuse_shape(path: Path, said: Mapping[str, Any]) -> None:
    """Refuse what is unknown, missing, or of another type, by its key."""
    if unknown := said.keys() - KEYS:
        raise BundleError(
            f"{path}: unknown key `{min(unknown)}`", hint=f"the keys are {', '.join(sorted(KEYS))}"
        )
    tables = {"checkpoints": _is_text, "options": _are_texts, "targets": _are_texts}
    for key, right in tables.items():
        table = said.get(key, {"": []} if key == "options" else None)
        if not isinstance(table, dict) or not table or not all(map(right, table.values())):
            raise BundleError(f"{path}: `{key}` is missing, or not what it should be", hint=EXAMPLE)
        if odd := [name for name in said.get(key, {}) if not FOLDER.fullmatch(name)]:
            raise BundleError(
                f"{path}: `{odd[0]}` names no folder", hint="take letters, digits, - and _"
            )
    if not _is_text(said.get("folder", "")):
        raise BundleError(f"{path}: `folder` is no text", hint=EXAMPLE)
    for words in said.get("options", {}).values():
        if taken := [word for word in words if _is_set_by_matrix(word)]:
            raise BundleError(
                f"{path}: `{taken[0]}` is no option here", hint="the matrix itself says that"
            )
    for each in said.get("leave-out", []):
        if not isinstance(each, dict) or not each or not each.keys() <= set(AXES):
            raise BundleError(
                f"{path}: `leave-out` is not what it should be",
                hint=f"it has one or more of {', '.join(AXES)}",
            )


def _is_set_by_matrix(word: str) -> bool:
    """Return whether a word says, in any spelling, what the matrix says."""
    return word.partition("=")[0] in SET_BY_MATRIX or word.startswith("-o")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))
