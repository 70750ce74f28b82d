"""Our delegate in the LiteRT of arm64, out of its wheel, in the Python of an emulated core."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.runtimes.conftest import CHECKPOINT
from tests.runtimes.places import Runs, python_of_arm64

from bitexport.checkpoints.checkpoint import open_checkpoint
from bitexport.emit.manifest import Bundle
from bitexport.emit.source import copy_runtime
from bitexport.emit.tflite_step import FILES, write_custom
from bitexport.models import build_model
from bitexport.models.parts.options import Options
from bitexport.passes.pipeline import lower
from bitexport.targets import Target, find_target
from bitexport.toolchain.compile import Library, sources
from bitexport.toolchain.litert import DELEGATE, build_delegate


@pytest.fixture(scope="module")
def step(stories: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the story model as one op."""
    model, _ = build_model(open_checkpoint(CHECKPOINT), Options())
    path = tmp_path_factory.mktemp("step") / FILES["custom"]
    write_custom(path, stories.data, lower(model, stories.manifest["layout"]), {"version": "0"})
    return path


@pytest.fixture(scope="module")
def delegate(
    libraries: Callable[[Target], Library], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the delegate for arm64."""
    target = find_target("arm64")
    runtime = libraries(target).archive.parents[2]
    copy_runtime([source.path for source in sources(target)], runtime)
    return build_delegate(target, runtime, tmp_path_factory.mktemp("delegate") / DELEGATE)


@pytest.mark.parametrize("core", find_target("arm64").cores)
def test_the_op_gives_every_bit_on_arm64(core: str, step: Path, delegate: Path, runs: Runs) -> None:
    if platform.freedesktop_os_release()["ID"] != "debian":
        pytest.skip("optional: this system's packages for arm64 lie elsewhere")
    said = runs.litert(step, delegate, *python_of_arm64(core))
    assert said["runtime"].startswith("ai-edge-litert ")
    assert runs.found().tobytes() == runs.logits.tobytes()
