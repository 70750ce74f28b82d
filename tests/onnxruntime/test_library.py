"""The C around onnxruntime: no warning, and nothing leaves the library but what is asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bitexport.paths import runtime_root
from bitexport.targets import find_target, load_flags
from bitexport.toolchain.compile import include_folders
from bitexport.toolchain.onnxruntime import ops_root
from bitexport.toolchain.programs import find_program

FILES = sorted(path.relative_to(ops_root()) for path in ops_root().rglob("*.[ch]"))
EXPORTED = {"RegisterCustomOps", "bitx_ort_domain_version", "bitx_ort_form", "bitx_ort_isa"}


@pytest.mark.parametrize("target_name", ["host", "arm64"])
@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_file_compiles_alone_and_without_a_warning(path: Path, target_name: str) -> None:
    target, flags = find_target(target_name), load_flags()
    command = [
        find_program(target.compiler, target), *flags.always, *target.flags, *flags.warnings,
        "-Werror", "-fsyntax-only", *(f"-I{runtime_root() / each}" for each in include_folders()),
        "-x", "c", str(path),
    ]  # fmt: skip
    said = subprocess.run(command, cwd=ops_root(), capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr


def test_the_library_exports_no_other_name(custom_ops: Path) -> None:
    command = ["nm", "-D", "-P", "--defined-only", str(custom_ops)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert {line.split()[0] for line in said.splitlines()} == EXPORTED
