"""The libraries of Arm, called through their JNI entry points on emulated cores."""

from __future__ import annotations

import functools
import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.exporter.package.android.conftest import HERE, libc_for_tests
from tests.generate.conftest import Reference

from bitexport.emit.manifest import Bundle
from bitexport.package.android.library import android_root, load_abis
from bitexport.targets import Target
from bitexport.toolchain.programs import find_program
from bitexport_ref.sampler import Sampler

PROMPT, TOKENS = "Once upon a time", 24
SECONDS = 300
ABIS = [abi for abi in load_abis().values() if abi.target.loader]
PLACES = [(abi.name, core) for abi in ABIS for core in abi.target.cores]
FLAGS, SOFT_FLOAT = 36, 0x200  # of a 32-bit ELF header: e_flags, EF_ARM_ABI_FLOAT_SOFT


def loaded_by_glibc(library: Path, folder: Path) -> Path:
    """Return the library, or a copy that glibc for hard floats loads: no call passes a float."""
    code = bytearray(library.read_bytes())
    (flags,) = struct.unpack_from("<I", code, FLAGS)
    if code[4] == 2:  # ELFCLASS64
        return library
    struct.pack_into("<I", code, FLAGS, flags & ~SOFT_FLOAT)
    copy = folder / library.name
    copy.write_bytes(code)
    return copy


@pytest.fixture(scope="module")
def command(
    android_library: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], list[str]]:
    """Return a function that gives the words which start call_jni on a core."""

    @functools.cache
    def build(name: str) -> tuple[Target, Path, Path, Path]:
        target, folder = load_abis()[name].target, tmp_path_factory.mktemp(name)
        library, program = loaded_by_glibc(android_library(name), folder), folder / "call_jni"
        libc = libc_for_tests(target, folder / "libc")
        compile_it = [find_program(target.compiler, target), *target.flags, "-Wall", "-Werror"]
        compile_it += [f"-I{android_root() / 'jni'}", str(HERE / "call_jni.c"), str(library)]
        compile_it += [f"-Wl,-rpath-link,{libc}", "-o", str(program)]
        subprocess.run(compile_it, check=True)
        return target, library, libc, program

    def words(name: str, core: str) -> list[str]:
        target, library, libc, program = build(name)
        assert target.loader is not None
        emulator = [find_program(target.runner[0], target), "-cpu", core]
        emulator += ["-L", str(Path(target.loader).parents[1])]
        emulator += ["-E", f"LD_LIBRARY_PATH={libc}:{library.parent}"]
        return [*emulator, "-E", f"LD_PRELOAD={libc / 'libc.so'}", str(program)]

    return words


@pytest.mark.parametrize(("name", "core"), PLACES)
def test_a_core_tests_itself_and_says_what_the_reference_says(
    name: str, core: str, command: Callable[[str, str], list[str]], story: Bundle,
    reference: Reference,
) -> None:  # fmt: skip
    tokens, text, _ = reference.answer(reference.encode(PROMPT), Sampler(), TOKENS)
    words = [*command(name, core), str(story.data), PROMPT, str(TOKENS)]
    said = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert said.returncode == 0, said.stderr
    tested, answer, every = said.stdout.splitlines()
    assert tested == "25 positions"
    assert answer == text
    assert json.loads(every) == tokens


@pytest.mark.parametrize(("name", "core"), PLACES[:1])
def test_what_is_no_model_is_refused(
    name: str, core: str, command: Callable[[str, str], list[str]], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.bitx"
    wrong.write_bytes(b"no model at all, only some words")
    words = [*command(name, core), str(wrong), PROMPT, "1"]
    said = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (said.returncode, said.stderr) == (2, "open: status -2\n")
