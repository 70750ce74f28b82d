"""The files of a model as Android wants them: an asset pack for each, and the list inside the AAR.

https://developer.android.com/guide/playcore/asset-delivery
"""

from __future__ import annotations

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
    bundles: Sequence[Bundle], folder: Path, chunk_bytes: int = CHUNK_BYTES
) -> list[Delivered]:
    """Write an asset pack for every bundle's .bitx file into a new folder."""
    folder.mkdir(parents=True)
    script = (android_root() / "asset-pack" / "build.gradle.kts").read_text(encoding="utf-8")
    delivered = []
    for bundle in bundles:
        pack = re.sub(r"[^a-z0-9]", "_", f"model_{bundle.target_name}")
        delivered.append(deliver_file(bundle, folder / pack / ASSETS, chunk_bytes))
        lines = script.replace("@PACK@", pack)
        (folder / pack / "build.gradle.kts").write_text(lines, encoding="utf-8")
    return delivered


def delivery_properties(models: Sequence[Delivered], chunk_bytes: int = CHUNK_BYTES) -> bytes:
    """Return the list as java.util.Properties reads it."""
    lines = [f"models={len(models)}", f"chunk_bytes={chunk_bytes}"]
    for i, model in enumerate(models):
        lines += [f"{i}.name={model.name}", f"{i}.bytes={model.nbytes}"]
        lines += [f"{i}.isas={' '.join(model.isas)}", f"{i}.chunks={' '.join(model.chunks)}"]
    return ("\n".join(lines) + "\n").encode("ascii")
