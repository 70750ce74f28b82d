"""The library of arm64-v8a, called through its JNI entry points on emulated cores."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.exporter.package.android.conftest import HERE, libc_for_tests
from tests.generate.conftest import Reference

from bitexport.emit.manifest import Bundle
from bitexport.package.android.library import android_root, load_abis
from bitexport.toolchain.programs import find_program
from bitexport_ref.sampler import Sampler

PROMPT, TOKENS = "Once upon a time", 24
SECONDS = 300
ABI = load_abis()["arm64-v8a"]


@pytest.fixture(scope="module")
def command(
    android_library: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[str]]:
    """Return a function that gives the words which start call_jni on a core."""
    folder = tmp_path_factory.mktemp("call")
    library, program = android_library(ABI.name), folder / "call_jni"
    libc = libc_for_tests(ABI.target, folder / "libc")
    compile_it = [find_program(ABI.target.compiler, ABI.target), "-Wall", "-Wextra", "-Werror"]
    compile_it += [f"-I{android_root() / 'jni'}", str(HERE / "call_jni.c"), str(library)]
    compile_it += [f"-Wl,-rpath-link,{libc}", "-o", str(program)]
    subprocess.run(compile_it, check=True)
    assert ABI.target.loader is not None
    system = Path(ABI.target.loader).parents[1]

    def words(core: str) -> list[str]:
        emulator = [find_program("qemu-aarch64", ABI.target), "-cpu", core, "-L", str(system)]
        return [*emulator, "-E", f"LD_LIBRARY_PATH={libc}:{library.parent}", str(program)]

    return words


@pytest.mark.parametrize("core", ABI.target.cores)
def test_a_core_tests_itself_and_says_what_the_reference_says(
    core: str, command: Callable[[str], list[str]], story: Bundle, reference: Reference
) -> None:
    tokens, text, _ = reference.answer(reference.encode(PROMPT), Sampler(), TOKENS)
    words = [*command(core), str(story.data), PROMPT, str(TOKENS)]
    said = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert said.returncode == 0, said.stderr
    tested, answer, every = said.stdout.splitlines()
    assert tested == "25 positions"
    assert answer == text
    assert json.loads(every) == tokens


def test_what_is_no_model_is_refused(command: Callable[[str], list[str]], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.bitx"
    wrong.write_bytes(b"no model at all, only some words")
    words = [*command("cortex-a53"), str(wrong), PROMPT, "1"]
    said = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (said.returncode, said.stderr) == (2, "open: status -2\n")
