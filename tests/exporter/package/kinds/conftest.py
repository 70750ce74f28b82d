"""Where packages appear."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Return where a package may appear."""
    return tmp_path / "package"
