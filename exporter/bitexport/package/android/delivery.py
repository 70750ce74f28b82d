"""The files of a model as Android wants them: an asset pack for each, and the list inside the AAR.

https://developer.android.com/guide/playcore/asset-delivery
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from bitexport.emit.manifest import Bundle
from bitexport.package.android.library import android_root
from bitexport.package.delivery import CHUNK_BYTES, Delivered, deliver_file

MOST_PACK_BYTES = 1_500_000_000
ASSETS = "src/main/assets"
RESOURCE = "ai/bitexport/models.properties"
"""Where class Models finds the list."""


def deliver(
    bundles: Sequence[Bundle], folder: Path, chunk_bytes: int = CHUNK_BYTES,
    most_bytes: int = MOST_PACK_BYTES,
) -> list[Delivered]:  # fmt: skip
    """Write every bundle's .bitx file into `packs/` of a folder, an asset pack for each.

    One of more than `most_bytes` goes to `models/`.
    """
    delivered = []
    for bundle in bundles:
        pack = None
        if bundle.data.stat().st_size <= most_bytes:
            pack = re.sub(r"[^a-z0-9]", "_", f"model_{bundle.target_name}")
            _write_script(folder / "packs" / pack, pack)
        place = folder / "packs" / pack / ASSETS if pack else folder / "models"
        file = deliver_file(bundle, place, chunk_bytes)
        delivered.append(dataclasses.replace(file, pack=pack))
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
