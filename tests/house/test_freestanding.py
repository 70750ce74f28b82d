"""The core of the runtime needs nothing: no libc, no libm, no run-time support of the compiler."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from bitexport.paths import runtime_root
from bitexport.targets import Target
from bitexport.toolchain.compile import COMPILERS_OWN, Library, build_library, undefined_symbols

CORE = ["fusions", "include", "kernels", "ops", "src"]
ALLOWED_HEADERS = {"stddef.h", "stdint.h"}
INTRINSICS = {"arm_neon.h", "arm_mve.h", "arm_acle.h", "immintrin.h"}
# How one asks the system, or the compiler's own header asks the processor, for instruction sets.
DETECTION = {
    "isa_apple.c": {"sys/sysctl.h"},
    "isa_linux.c": {"sys/auxv.h"},
    "isa_x86.c": {"cpuid.h"},
}


def core_files() -> list[Path]:
    """Return every C file and header of the core."""
    found = [path for room in CORE for path in (runtime_root() / room).rglob("*.[ch]")]
    return sorted(path.relative_to(runtime_root()) for path in found)


def test_the_core_needs_no_library(target: Target, tmp_path: Path) -> None:
    for room in CORE:
        if (runtime_root() / room).is_dir():
            shutil.copytree(runtime_root() / room, tmp_path / "core" / room)
    archive = build_library(target, tmp_path / "core", tmp_path).archive
    asks_linux = {"getauxval"} if target.detection == "linux" else set()
    assert sorted(undefined_symbols(target, archive) - COMPILERS_OWN - asks_linux) == []


def test_the_library_compiles_without_a_warning(target: Target, library: Library) -> None:
    assert library.warnings == ""


@pytest.mark.parametrize("path", core_files(), ids=str)
def test_the_core_includes_no_header_of_a_library(path: Path) -> None:
    text = (runtime_root() / path).read_text(encoding="utf-8")
    included = set(re.findall(r"^\s*#\s*include\s*<([^>]+)>", text, re.MULTILINE))
    intrinsics = INTRINSICS if path.parts[0] == "kernels" else set()
    assert included <= ALLOWED_HEADERS | intrinsics | DETECTION.get(path.name, set())
