"""No saved session, however broken, makes a generator stumble."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.generate.fuzzing import MENDED, definitions, write_model
from tests.text.conftest import SANITIZERS

from bitexport.paths import runtime_root
from bitexport.targets import find_target, load_flags
from bitexport.toolchain.compile import include_folders
from bitexport.toolchain.programs import find_program, run_tool

HERE = Path(__file__).parent.resolve()
CORPUS = sorted((HERE / "corpus" / "restore").iterdir())
CHANGES = 20
IDENTITY, LENGTH = 16, 56  # of FORMAT.md, section 4

Fuzz = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Fuzz:
    """Return a function that runs the fuzzer, without libFuzzer, on files."""
    folder, host, flags = tmp_path_factory.mktemp("fuzz"), find_target("host"), load_flags()
    model, program = folder / "model.bitx", folder / "fuzz_restore"
    write_model(model)
    command = [
        *(find_program(host.compiler, host), *flags.always, *flags.warnings, *SANITIZERS),
        *("-Werror", "-O1", "-DFUZZ_ALONE", f"-I{HERE.parent / 'text'}"),
        *(f"-I{folder}" for folder in include_folders()),
        *(*map(str, definitions()), str(HERE / "fuzz_restore.c"), "-o", str(program)),
    ]
    run_tool(command, folder=runtime_root(), doing="building fuzz_restore")

    def run(changes: int, *files: Path, taken: bool = False) -> subprocess.CompletedProcess[str]:
        given = {**os.environ, "BITX_MODEL": str(model), "ASAN_OPTIONS": "detect_leaks=0"}
        given |= {"BITX_TAKEN": "1"} if taken else {}
        return subprocess.run(
            [program, str(changes), *files], capture_output=True, text=True, env=given, check=False
        )

    return run


def test_the_corpus_has_every_way_to_mend() -> None:
    assert {path.read_bytes()[0] for path in CORPUS} >= set(MENDED)


def test_nothing_in_the_corpus_or_near_it_does_harm(fuzz: Fuzz) -> None:
    done = fuzz(CHANGES, *CORPUS)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == f"{len(CORPUS)} files\n"


def test_what_is_mended_gets_past_hash_identity_and_length(fuzz: Fuzz, tmp_path: Path) -> None:
    seed = next(path for path in CORPUS if path.name == "3-given-9-made-15-mended")
    broken = bytearray(seed.read_bytes())
    for at in (1 + IDENTITY, 1 + LENGTH, len(broken) - 1):
        broken[at] ^= 0x55
    (tmp_path / "mended").write_bytes(broken)
    assert fuzz(0, tmp_path / "mended", taken=True).returncode == 0
    (tmp_path / "left").write_bytes(b"\0" + broken[1:])
    assert fuzz(0, tmp_path / "left", taken=True).returncode != 0
    assert fuzz(0, tmp_path / "left").returncode == 0
