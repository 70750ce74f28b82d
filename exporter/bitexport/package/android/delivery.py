"""Models as an app fetches them: a file for each kind of core, and the hash of every chunk.

The list travels inside the AAR, so the app's own signature covers it; the files need none.  Each
lies in an asset pack of its own (https://developer.android.com/guide/playcore/asset-delivery).
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from bitexport.emit.manifest import Bundle
from bitexport.package.android.library import android_root
from bitexport.package.kind import copy, slug
from bitexport.targets import find_target

CHUNK_BYTES = 4 << 20
MOST_PACK_BYTES = 1_500_000_000
ASSETS = "src/main/assets"
RESOURCE = "ai/bitexport/models.properties"
"""Where class Models finds the list."""


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
    """The asset pack that it lies in; None: it is too large for one."""


def deliver(
    bundles: Sequence[Bundle], folder: Path, chunk_bytes: int = CHUNK_BYTES,
    most_bytes: int = MOST_PACK_BYTES,
) -> list[Delivered]:  # fmt: skip
    """Write every bundle's .bitx file into `packs/` of a folder, an asset pack for each.

    One of more than `most_bytes` goes to `models/`.
    """
    delivered = []
    for bundle in bundles:
        name = f"{slug(bundle)}-{bundle.target_name}.bitx"
        nbytes = bundle.data.stat().st_size
        pack = None
        if nbytes <= most_bytes:
            pack = re.sub(r"[^a-z0-9]", "_", f"model_{bundle.target_name}")
            _write_script(folder / "packs" / pack, pack)
        file = (folder / "packs" / pack / ASSETS if pack else folder / "models") / name
        copy(bundle.data, file)
        chunks, isas = tuple(_chunks(file, chunk_bytes)), find_target(bundle.target_name).isas
        delivered.append(Delivered(name=name, nbytes=nbytes, isas=isas, chunks=chunks, pack=pack))
    return delivered


def _write_script(folder: Path, pack: str) -> None:
    script = (android_root() / "asset-pack" / "build.gradle.kts").read_text(encoding="utf-8")
    folder.mkdir(parents=True)
    (folder / "build.gradle.kts").write_text(script.replace("@PACK@", pack), encoding="utf-8")


def delivery_properties(models: Sequence[Delivered], chunk_bytes: int = CHUNK_BYTES) -> bytes:
    """Return the list as java.util.Properties reads it."""
    lines = [f"models={len(models)}", f"chunk_bytes={chunk_bytes}"]
    for i, model in enumerate(models):
        lines += [f"{i}.name={model.name}", f"{i}.bytes={model.nbytes}"]
        lines += [f"{i}.isas={' '.join(model.isas)}", f"{i}.chunks={' '.join(model.chunks)}"]
    return ("\n".join(lines) + "\n").encode("ascii")


def _chunks(path: Path, size: int) -> list[str]:
    with path.open("rb") as file:
        return [hashlib.sha256(chunk).hexdigest() for chunk in iter(lambda: file.read(size), b"")]
