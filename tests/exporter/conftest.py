"""Tiny checkpoints and bundles, written once; a test that breaks one gets a copy of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.exporter.testing.broken_library import vouch_for
from tests.tiny_checkpoint import RAGGED, Checkpoint, Shape, write_checkpoint

from bitexport.emit.manifest import Bundle, open_bundle
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import Target, find_target
from bitexport.toolchain.compile import Library

BundleFor = Callable[[str], Bundle]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Return a checkpoint of two layers; only to be read."""
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture(scope="session")
def ragged(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Return a checkpoint without a single multiple of 16; only to be read."""
    return write_checkpoint(tmp_path_factory.mktemp("ragged") / "ragged", RAGGED)


@pytest.fixture(scope="session", params=["tiny", "ragged"])
def each(request: pytest.FixtureRequest) -> Checkpoint:
    """Return each of the two checkpoints in turn; only to be read."""
    checkpoint: Checkpoint = request.getfixturevalue(request.param)
    return checkpoint


@pytest.fixture
def broken(tiny: Checkpoint, tmp_path: Path) -> Path:
    """Return the folder of a checkpoint that is sound until the test breaks it."""
    return Path(shutil.copytree(tiny.path, tmp_path / "broken"))


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Shape], Checkpoint]:
    """Return a function that writes a checkpoint of a shape into a new folder."""
    return lambda shape: write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model", shape)


@pytest.fixture(scope="session")
def bundles(
    tiny: Checkpoint, ragged: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Bundle]:
    """Return a bundle of each checkpoint, source only; only to be read."""
    folder = tmp_path_factory.mktemp("bundles")
    return {
        name: build_bundle(
            checkpoint.path,
            find_target("arm64"),
            Options(),
            folder / name,
            Wanted(compile_library=False),
        )
        for name, checkpoint in (("tiny", tiny), ("ragged", ragged))
    }


@pytest.fixture(scope="session")
def host_bundle(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with a library for this machine; only to be read."""
    folder = tmp_path_factory.mktemp("host") / "bundle"
    return build_bundle(tiny.path, find_target("host"), Options(), folder)


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
            vouch_for(folder)
            made[name] = open_bundle(folder)
        return made[name]

    return make
