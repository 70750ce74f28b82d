"""A bundle, opened by the C runtime on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bitexport.emit.manifest import Bundle, open_bundle, refuse_network
from bitexport.package.native import native_bundle
from bitexport.runtime.model import HostModel
from bitexport.targets import find_target
from bitexport.toolchain.compile import find_library


@contextlib.contextmanager
def host_library(bundle: Bundle) -> Iterator[Path]:
    """Give the shared library for this machine: the bundle's own, or this version's, built here."""
    with native_bundle(bundle) as native:
        library = find_library(find_target("host"), native.path)
        assert library.shared is not None
        yield library.shared


@contextlib.contextmanager
def open_model(bundle: Path) -> Iterator[HostModel]:
    """Open a bundle with the library for this machine; a damaged one is a `BundleError`."""
    opened = open_bundle(bundle, check_files=True)
    refuse_network(opened)
    with host_library(opened) as library:
        yield HostModel(library, opened.data)
