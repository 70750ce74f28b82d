"""The same bundle for the machine that we are on: this version's runtime, compiled here."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bitexport.emit.manifest import DATA, Bundle
from bitexport.emit.source import copy_runtime
from bitexport.targets import Target
from bitexport.toolchain.compile import build_library, sources


@contextlib.contextmanager
def native_bundle(bundle: Bundle, target: Target) -> Iterator[Bundle]:
    """Give the bundle itself when it is for `target`, else one with a library for `target`.

    The .bitx file stays the one of the bundle: every runtime executes every layout.
    """
    if bundle.target_name == target.name:
        yield bundle
        return
    with tempfile.TemporaryDirectory(prefix="bitexport-") as scratch:
        folder = Path(scratch)
        copy_runtime([source.path for source in sources(target)], folder)
        (folder / DATA).symlink_to(bundle.data.resolve())
        build_library(target, folder, folder)
        yield Bundle(folder, bundle.manifest)
