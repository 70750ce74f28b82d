"""Bundles with a library, for any target, without compiling it for each test again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tiny_checkpoint import Checkpoint

from bitexport.emit.manifest import Bundle
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import Target, find_target
from bitexport.toolchain.compile import Library

BundleFor = Callable[[str], Bundle]


@pytest.fixture(scope="session")
def bundle_for(
    tiny: Checkpoint,
    host_bundle: Bundle,
    libraries: Callable[[Target], Library],
    tmp_path_factory: pytest.TempPathFactory,
) -> BundleFor:
    """Return a function that gives a bundle for a target, library and all; only to be read."""
    made = {"host": host_bundle}

    def make(name: str) -> Bundle:
        if name not in made:
            target, folder = find_target(name), tmp_path_factory.mktemp(f"bundle-{name}") / "out"
            made[name] = build_bundle(
                tiny.path, target, Options(), folder, Wanted(compile_library=False)
            )
            shutil.copytree(libraries(target).archive.parent, folder / "lib" / name)
        return made[name]

    return make


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Return where a package may appear."""
    return tmp_path / "package"
