"""The Java API, compiled: the same sources and compiler give the same bytes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bitexport.errors import ToolchainError
from bitexport.package.android.library import android_root
from bitexport.package.archive import write_zip
from bitexport.toolchain.programs import install_line, run_tool

RELEASE = 8
"""The newest Java that every Android since 5.0 runs without rewriting."""
DEBIAN = ("default-jdk-headless",)


def java_sources() -> list[Path]:
    """Return the files of the Java API."""
    return sorted((android_root() / "java").rglob("*.java"))


def write_classes(output: Path, resources: Mapping[str, bytes] | None = None) -> str:
    """Compile the API into a jar, with resources; return the compiler's warnings."""
    compiler = shutil.which("javac")
    if compiler is None:
        raise ToolchainError(
            "`javac` is not installed; an AAR holds compiled classes",
            hint=f"on Debian or Ubuntu: {install_line(DEBIAN)}",
        )
    with tempfile.TemporaryDirectory(prefix="bitexport-") as scratch:
        folder = Path(scratch)
        command = [compiler, "--release", str(RELEASE), "-Xlint:all,-options", "-encoding", "UTF-8"]
        command += ["-d", str(folder), *map(str, java_sources())]
        said = run_tool(command, folder=folder, doing="javac").stderr
        members = dict(resources or {}) | {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*.class"))
        }
        write_zip(output, members)
    return said
