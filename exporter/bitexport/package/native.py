"""A bundle with a library for the machine that we are on: its own, or this version's runtime."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bitexport.emit.manifest import DATA, Bundle
from bitexport.emit.source import copy_runtime
from bitexport.paths import runtime_root
from bitexport.targets import Target, find_target
from bitexport.toolchain.compile import SHARED, build_library, include_folders, sources


@contextlib.contextmanager
def native_bundle(bundle: Bundle) -> Iterator[Bundle]:
    """Give the bundle itself if its library is for this machine and has this version's headers.

    Else give one with the same .bitx file and a library that is built here: every runtime executes
    every layout.  The bundle's own library is taken only if its manifest lists it; whoever opened
    the bundle has compared the hashes.
    """
    target = find_target("host")
    if _lists_library(bundle, target) and has_our_headers(bundle.path):
        yield bundle
        return
    with tempfile.TemporaryDirectory(prefix="bitexport-") as scratch:
        folder = Path(scratch)
        copy_runtime([source.path for source in sources(target)], folder)
        (folder / DATA).symlink_to(bundle.data.resolve())
        build_library(target, folder, folder)
        yield Bundle(folder, bundle.manifest)


def _lists_library(bundle: Bundle, target: Target) -> bool:
    return f"lib/{target.name}/{SHARED}" in bundle.manifest["files"]


def has_our_headers(folder: Path) -> bool:
    """Return whether what programs are compiled against is the same here and there."""
    names = [
        path.relative_to(runtime_root())
        for headers in include_folders()
        for path in sorted((runtime_root() / headers).glob("*.h"))
    ]
    return all(
        (folder / name).is_file()
        and (folder / name).read_bytes() == (runtime_root() / name).read_bytes()
        for name in names
    )
