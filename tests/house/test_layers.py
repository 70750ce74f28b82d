"""Imports point one way only; the reference knows nothing of what it judges."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_imports_point_downwards(repository: Path) -> None:
    program = Path(sys.executable).with_name("lint-imports")
    said = subprocess.run(
        [program, "--no-cache"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr


def test_no_reader_unpacks_with_the_writers_code(repository: Path) -> None:
    for path in sorted((repository / "exporter/bitexport/layouts").glob("*.py")):
        assert "def unpack" not in path.read_text(encoding="utf-8"), path
