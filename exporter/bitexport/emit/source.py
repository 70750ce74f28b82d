"""Copy the C runtime into a bundle: the files of the target, untouched, and a list for CMake."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from bitexport.paths import runtime_root


def copy_runtime(files: Iterable[Path], output: Path, source_root: Path | None = None) -> None:
    """Copy C files (paths relative to the runtime), every public and internal header, CMake."""
    root = source_root or runtime_root()
    headers = (p.relative_to(root) for pattern in ("*.h", "*.def") for p in root.rglob(pattern))
    library = (path for path in headers if path.parts[0] != "runner")
    for path in sorted({*files, *library, Path("CMakeLists.txt")}):
        (output / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, output / path)
