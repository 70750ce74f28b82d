"""The style is checked by tools, never by reviewers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PYTHON_CHECKS = {
    "ruff check": ["ruff", "check", "--no-cache", "."],
    "ruff format": ["ruff", "format", "--no-cache", "--check", "."],
    "mypy": ["mypy", "--no-error-summary"],
}


def run(repository: Path, words: list[str]) -> None:
    """Run a tool that is installed beside this Python; show what it says when it refuses."""
    program = Path(sys.executable).with_name(words[0])
    assert program.exists(), f"`{words[0]}` is not installed: pip install 'bitexport[test]'"
    said = subprocess.run(
        [program, *words[1:]], cwd=repository, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("words", PYTHON_CHECKS.values(), ids=PYTHON_CHECKS)
def test_python_is_clean(repository: Path, words: list[str]) -> None:
    run(repository, words)


def test_c_is_formatted(repository: Path) -> None:
    files = [
        str(path) for top in ("targets", "tests") for path in (repository / top).rglob("*.[ch]")
    ]
    assert files
    run(repository, ["clang-format", "--dry-run", "-Werror", *sorted(files)])
