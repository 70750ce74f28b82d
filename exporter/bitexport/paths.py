"""The data that travels with the package lies in one of two places; only this file knows which."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def targets_root() -> Path:
    """Return where the target descriptions lie: inside the wheel, or beside the source tree."""
    packaged = Path(str(files("bitexport"))) / "_targets"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "targets"


def runtime_root() -> Path:
    """Return the folder of the C runtime."""
    return targets_root() / "runtime"


def packages_root() -> Path:
    """Return the folder of the templates that packages are made of."""
    return targets_root() / "packages"
