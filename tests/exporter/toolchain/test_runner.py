"""The runner is linked against a bundle's own library, and starts on every core of every target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bitexport.emit.source import copy_runtime
from bitexport.errors import RunError
from bitexport.targets import Target
from bitexport.toolchain.compile import Library, build_runner
from bitexport.toolchain.emulate import run


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what the runner takes from a bundle: headers, and a model, here one of zeros."""
    bundle = tmp_path_factory.mktemp("bundle")
    copy_runtime((), bundle)
    (bundle / "model.bitx").write_bytes(bytes(4096))
    return bundle


def test_the_runner_refuses_zeros_on_every_core(
    target: Target, libraries: Callable[[Target], Library], folder: Path
) -> None:
    program = build_runner(target, libraries(target), folder, folder / "run" / target.name)
    for core in target.cores:
        with pytest.raises(RunError, match="ended with status 1") as caught:
            run(target, core, program, [str(folder / "model.bitx"), "--self-test"], timeout=60)
        said = caught.value.completed.stdout.splitlines()
        assert f"isa available {' '.join(target.expected_isas(core))}" in said
        assert "status -2 not a .bitx file rule 1 record 0" in said
