"""Models as an app fetches them: a file for each kind of core, and the hash of every chunk.

The list travels inside the package, so the app's own signature covers it; the files need none.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from bitexport.emit.manifest import DATA, Bundle
from bitexport.errors import BundleError, TargetError
from bitexport.package.kind import copy, slug
from bitexport.targets import find_target
from bitexport_ref.arithmetic import stored_arithmetic
from bitexport_ref.bitx import open_bitx

CHUNK_BYTES = 4 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Delivered:
    """A model's file."""

    name: str
    nbytes: int
    isas: tuple[str, ...]
    """For which its target has kernels: what a core must have to be of that kind."""
    chunks: tuple[str, ...]
    """SHA-256 of each."""
    pack: str | None = None
    """The asset pack of Android that it lies in, if any."""


def delivered_name(bundle: Bundle) -> str:
    """Return the name of a bundle's .bitx file on a device: model, target, and what is in it.

    An app that brings a newer model must not take the file of the older one for it.
    """
    digest = str(bundle.manifest["files"][DATA])
    return f"{slug(bundle)}-{bundle.target_name}-{digest[:8]}.bitx"


def deliver_file(bundle: Bundle, folder: Path, chunk_bytes: int = CHUNK_BYTES) -> Delivered:
    """Copy a bundle's .bitx file into a folder, under the name that it has on a device."""
    file = folder / delivered_name(bundle)
    copy(bundle.data, file)
    return Delivered(
        name=file.name,
        nbytes=file.stat().st_size,
        isas=find_target(bundle.target_name).isas,
        chunks=tuple(_chunks(file, chunk_bytes)),
    )


def refuse_boards(option: str, bundles: Sequence[Bundle]) -> None:
    """Refuse bundles for what no phone is like."""
    for bundle in bundles:
        if find_target(bundle.target_name).os != "linux":
            raise TargetError(
                f"{option}: {bundle.path} is for target `{bundle.target_name}`, a board",
                hint="build the checkpoint for arm64, and for arm64-v8.0 if old phones matter",
            )


def refuse_strangers(bundles: Sequence[Bundle]) -> None:
    """Refuse bundles that would not say the same: of another model, or with other numbers."""
    first, *others = bundles
    told = stored_arithmetic(open_bitx(first.data))
    for other in others:
        if stored_arithmetic(open_bitx(other.data)) != told:
            raise BundleError(
                f"{other.path}: computes other numbers than {first.path}",
                hint="package bundles of one checkpoint, built with the same options of numbers; "
                "only target and layout may differ",
            )
    files = [bundle.target_name for bundle in bundles]
    if len(set(files)) != len(files):
        raise BundleError(
            f"two bundles are for target `{max(files, key=files.count)}`",
            hint="a device chooses by target: give one bundle for each",
        )


def _chunks(path: Path, size: int) -> Iterator[str]:
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(size), b""):
            yield hashlib.sha256(chunk).hexdigest()
