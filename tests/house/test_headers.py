"""A header can be read, and compiled, alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bitexport.paths import runtime_root
from bitexport.targets import find_target, load_flags
from bitexport.toolchain.compile import include_folders
from bitexport.toolchain.programs import find_program

HEADERS = sorted(path.relative_to(runtime_root()) for path in runtime_root().rglob("*.h"))
# What an application includes; the others may say `restrict`.
PUBLIC = [path for path in HEADERS if path.parts[0] in ("include", "extras")]


def compile_alone(header: Path, program: str, language: str, standard: str) -> None:
    """Compile one header as if it were a file, warnings being errors."""
    host = find_target("host")
    command = [
        *(find_program(program, host), f"-std={standard}", "-fsyntax-only", "-Werror"),
        *(flag for flag in load_flags().warnings if language == "c" or "prototypes" not in flag),
        *(f"-I{folder}" for folder in (*include_folders(), "runner")),
        *("-x", language, str(header)),
    ]
    said = subprocess.run(command, cwd=runtime_root(), capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("header", HEADERS, ids=str)
def test_every_header_compiles_alone_as_c11(header: Path) -> None:
    compile_alone(header, "gcc", "c", "c11")


@pytest.mark.parametrize("header", PUBLIC, ids=str)
def test_every_public_header_compiles_alone_as_cpp17(header: Path) -> None:
    compile_alone(header, "g++", "c++", "c++17")
