"""A Swift package with its XCFramework, written once."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from tests.tiny_checkpoint import Checkpoint

from bitexport.emit.manifest import Bundle
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.package.kind import write_package
from bitexport.progress import StreamProgress
from bitexport.targets import find_target


@dataclasses.dataclass(frozen=True)
class Written:
    """A package, and what was said while it was written."""

    path: Path
    said: str


@pytest.fixture(scope="session")
def arm64_bundle(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle without a library."""
    folder = tmp_path_factory.mktemp("apple-bundle") / "out"
    source_only = Wanted(compile_library=False)
    return build_bundle(tiny.path, find_target("arm64"), Options(), folder, source_only)


@pytest.fixture(scope="session")
def written(arm64_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Return the package of the bundle; only to be read."""
    folder, said = tmp_path_factory.mktemp("apple") / "package", io.StringIO()
    write_package("apple", [arm64_bundle], folder, progress=StreamProgress(said))
    return Written(folder, said.getvalue())


@pytest.fixture(scope="session")
def package(written: Written) -> Path:
    """Return where the package lies."""
    return written.path


@pytest.fixture(scope="session")
def tiny_board(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle for a microcontroller."""
    folder = tmp_path_factory.mktemp("apple-board") / "out"
    source_only = Wanted(compile_library=False)
    return build_bundle(tiny.path, find_target("cortex-m4"), Options(), folder, source_only)
