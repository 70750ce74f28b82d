"""The C target, compiled as Swift's package manager does it, returns the reference's bits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bitexport.emit.manifest import Bundle
from bitexport.package.apple.swift_package import CLANG_TARGET, write_clang_target
from bitexport.paths import packages_root
from bitexport.targets import Target, find_target
from bitexport.toolchain.emulate import run

SECONDS = 300
# For a release: no other flag comes from a package without unsafeFlags.
SWIFTPM = ("-std=c11", "-O2", "-fblocks", "-DSWIFT_PACKAGE=1", "-Iinclude")
MODULES = ("-fmodules", "-fmodule-name=CBitexport")
ZIG_CLANG = (sys.executable, "-m", "ziglang", "cc", "-g0")
COMPILERS = {
    "host": ("clang",),
    # Debian's clang 14 has no dot product without flags; zig's is new enough.
    "arm64": (*ZIG_CLANG, "-target", "aarch64-linux-gnu"),
}
CORES = [("host", "native"), *(("arm64", core) for core in find_target("arm64").cores)]


def told(words: Sequence[object], folder: Path) -> str:
    """Run a compiler; return its warnings."""
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, capture_output=True, text=True, check=False,
        timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="session")
def clang_target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the C target, which no model has a part in."""
    folder = tmp_path_factory.mktemp("clang-target") / "CBitexport"
    write_clang_target(folder)
    return folder


@pytest.fixture(scope="session")
def programs(clang_target: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return programs that run the vectors of a file, by target."""
    made = {}
    for name, compiler in COMPILERS.items():
        target, folder = find_target(name), tmp_path_factory.mktemp(name)
        objects = [folder / f"{part}.o" for part in ("bitexport", "bitx_map")]
        for out in objects:
            words = [*compiler, *SWIFTPM, "-Wall", "-Wextra", "-c", f"{out.stem}.c", "-o", out]
            assert told(words, clang_target) == ""
        made[name] = folder / "self_test"
        source = packages_root() / "cmake/self_test_program.c"
        words = [target.compiler, "-std=c11", "-Iinclude", *target.link, source, *objects]
        told([*words, "-lm", "-o", made[name]], clang_target)
    return made


@pytest.mark.parametrize(("name", "core"), CORES)
def test_every_kernel_returns_the_bits_of_the_reference(
    name: str, core: str, programs: dict[str, Path], arm64_bundle: Bundle
) -> None:
    target: Target = find_target(name)
    said = run(target, core, programs[name], [str(arm64_bundle.data)], timeout=SECONDS).stdout
    isas = [line.partition(": equal, ")[0] for line in said.splitlines()]
    assert isas == list(target.expected_isas(core))


@pytest.mark.parametrize("language", ["c", "objective-c", "c++", "objective-c++"])
def test_the_headers_compile(clang_target: Path, language: str, tmp_path: Path) -> None:
    text = '#include "bitexport.h"\n#include "bitx_map.h"\n'
    (tmp_path / "use").write_text(text, encoding="utf-8")
    flags = [f"-I{clang_target}/include", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    words = ["clang", "-target", "arm64-apple-ios15.0", "-stdlib=libc++", "-ffreestanding"]
    told([*words, *flags, "-fsyntax-only", "-x", language, "use"], tmp_path)


def test_clang_finds_the_module(clang_target: Path, tmp_path: Path) -> None:
    """As Swift and Objective-C import it."""
    use = "@import CBitexport;\nunsigned all(void) { return bitx_isa_available(); }\n"
    (tmp_path / "use.m").write_text(use, encoding="utf-8")
    words = ["clang", "-fmodules", f"-fmodules-cache-path={tmp_path}/cache"]
    told([*words, f"-I{clang_target}/include", "-fsyntax-only", "use.m"], tmp_path)


def test_the_file_of_maps_is_part_of_the_module(clang_target: Path, tmp_path: Path) -> None:
    words = ["clang", *SWIFTPM, *MODULES, f"-fmodules-cache-path={tmp_path}/cache", "-Werror"]
    told([*words, "-fsyntax-only", "bitx_map.c"], clang_target)


def test_the_package_has_this_target(package: Path, clang_target: Path) -> None:
    for path in clang_target.rglob("*"):
        there = package / CLANG_TARGET / path.relative_to(clang_target)
        assert path.is_dir() or there.read_bytes() == path.read_bytes()
