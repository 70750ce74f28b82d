"""The manifest of a bundle: what it was built from and for, and the hash of every file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitexport.errors import BundleError

MANIFEST = "manifest.json"
DATA, GRAPH = "model.bitx", "model.onnx"
NETWORK = "network"
"""What is the family of a network that is no language model."""
CODE = frozenset({"lib", "src", "include", "ops", "kernels", "fusions", "extras"})


@dataclasses.dataclass(frozen=True)
class Bundle:
    """An opened bundle."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def target_name(self) -> str:
        """The target that it was built for."""
        return str(self.manifest["target"])

    @property
    def is_network(self) -> bool:
        """Whether it holds a network that is no language model."""
        return bool(self.manifest["model"].get("family") == NETWORK)

    @property
    def data(self) -> Path:
        """The .bitx file."""
        return self.path / DATA

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.path / GRAPH


def open_bundle(path: Path, *, check_files: bool = False) -> Bundle:
    """Open a bundle; with check_files every file must have the hash of the manifest.

    Below the folders of code there may then be no other file: it could be compiled or linked.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except OSError:
        raise BundleError(
            f"{path}: not a bundle: there is no {MANIFEST}",
            hint="make one: bitexport build CHECKPOINT --target arm64 -o FOLDER",
        ) from None
    except ValueError as error:
        raise BundleError(
            f"{path / MANIFEST}: not valid JSON: {error}",
            hint="build the bundle again, or copy it again",
        ) from None
    match manifest:
        case {
            "manifest_version": 1, "target": str(), "files": dict(), "tool": dict(),
            "layout": str(), "model": {"name": str(), "context": int(), "eos": list()},
            "options": dict(), "memory": dict(), "checkpoint": dict(),
        }:  # fmt: skip
            pass
        case _:
            raise BundleError(
                f"{path / MANIFEST}: not a manifest that this version understands",
                hint="build the bundle again",
            )
    if check_files:
        _check_files(path, manifest["files"])
    return Bundle(path, manifest)


def refuse_network(bundle: Bundle) -> None:
    """Refuse a bundle that holds no language model."""
    if bundle.is_network:
        raise BundleError(
            f"{bundle.path}: holds a network, no language model",
            hint="networks are for `bitexport run --input` and `bitexport verify`",
        )


def file_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder but the manifest, by relative path."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name != MANIFEST:
            with path.open("rb") as stream:
                found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def _check_files(folder: Path, promised: Mapping[str, str]) -> None:
    found = file_digests(folder)
    for name in sorted(promised):
        if found.get(name) != promised[name]:
            what = "is missing" if name not in found else "is not the file that was built"
            raise BundleError(
                f"{folder / name}: {what}", hint="build the bundle again, or copy it again"
            )
    for name in found:
        if name not in promised and name.partition("/")[0] in CODE:
            raise BundleError(
                f"{folder / name}: is not in the manifest",
                hint="remove the file, or build the bundle again",
            )
