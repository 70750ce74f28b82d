"""`bitexport` as its users meet it: words in; exit code, stdout and stderr out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.tiny_checkpoint import Checkpoint

from bitexport.cli import main
from bitexport.emit.manifest import Bundle
from bitexport.models.parts.options import Options
from bitexport.package.bundle import build_bundle
from bitexport.targets import find_target

# A sentence, an empty line, a hint: nothing before it but what the command said while it worked.
REFUSAL = re.compile(r"(?:^|\n)error: \S.*\n(?:.*\n)*\nhint: \S.*\n\Z")


def say(*words: object) -> Result:
    """Return what `bitexport` answers to these words."""
    return CliRunner().invoke(main, [str(word) for word in words])


def refuse(code: int, names: str, *words: object) -> Result:
    """Check that these words are refused with one sentence, a hint, and an exit code."""
    result = say(*words)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert REFUSAL.search(result.stderr), result.stderr
    assert names in result.stderr
    assert "Traceback" not in result.stderr
    assert isinstance(result.exception, SystemExit)
    return result


@pytest.fixture(scope="session")
def said() -> Callable[..., Result]:
    """Return `say`."""
    return say


@pytest.fixture(scope="session")
def refused() -> Callable[..., Result]:
    """Return `refuse`."""
    return refuse


@pytest.fixture
def no_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take every compiler and emulator away."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.fixture
def only_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Return a function that takes every program away but those it is given."""

    def keep(*names: str) -> None:
        folder = tmp_path / "programs"
        folder.mkdir()
        for name in names:
            found = shutil.which(name)
            assert found, f"`{name}` is not installed: see `bitexport doctor`"
            (folder / name).symlink_to(found)
        monkeypatch.setenv("PATH", str(folder))

    return keep


@pytest.fixture(scope="session")
def device_bundle(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with a library for a Cortex-M."""
    folder = tmp_path_factory.mktemp("device") / "bundle"
    return build_bundle(tiny.path, find_target("cortex-m4"), Options(), folder)
