"""An installed tree is found by pkg-config, by CMake from another project, and by dpkg-deb."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bitexport.emit.manifest import Bundle
from bitexport.errors import BundleError, TargetError
from bitexport.package.kind import write_package
from bitexport.package.kinds.linux import ARCHITECTURES
from bitexport.targets import find_target, load_targets

BundleFor = Callable[[str], Bundle]

# The emulator as CMake and ctest start it, with where a cross compiler's libraries lie.
EMULATORS = {
    "host": "",
    "arm64": "qemu-aarch64;-L;/usr/aarch64-linux-gnu;-cpu;max,sve=off",
}
SECONDS = 120
MODEL = "usr/share/bitexport/tiny/model.bitx"


def told(*words: object, folder: Path | None = None) -> str:
    """Return what a program says on stdout; fail with all that it said."""
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, capture_output=True, text=True, check=False,
        timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def root(bundle_for: BundleFor, output: Path) -> Path:
    """Return the installed tree of the host's package."""
    write_package("linux", [bundle_for("host")], output)
    return output / "root"


@pytest.mark.parametrize("name", EMULATORS)
def test_another_project_finds_it_with_cmake(
    name: str, bundle_for: BundleFor, output: Path, tmp_path: Path
) -> None:
    target = find_target(name)
    write_package("linux", [bundle_for(name)], output)
    (examples,) = (output / "root").glob("usr/share/doc/*/examples")
    there = tmp_path / "elsewhere"
    told("cmake", "-S", examples, "-B", there, f"-DCMAKE_PREFIX_PATH={output}/root/usr",
         "-DCMAKE_SYSTEM_NAME=Linux", f"-DCMAKE_C_COMPILER={target.compiler}",
         "-DCMAKE_C_FLAGS=-Wall -Wextra -Wpedantic -Wconversion -Werror",
         f"-DCMAKE_CROSSCOMPILING_EMULATOR={EMULATORS[name]}")  # fmt: skip
    told("cmake", "--build", there)
    said = told("ctest", "--test-dir", there, "--verbose")
    assert "100% tests passed, 0 tests failed out of 2" in said
    for isa in target.expected_isas(list(target.cores)[-1]):
        assert said.count(f"{isa}: equal, ") == 2


def test_it_is_not_found_for_other_pointers(root: Path, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(other C)\n"
        "set(CMAKE_LIBRARY_ARCHITECTURE x86_64-linux-gnu)\n"
        "set(CMAKE_SIZEOF_VOID_P 4)\nfind_package(bitexport)\n"
        'if(bitexport_FOUND)\n  message(FATAL_ERROR "found")\nendif()\n'
        "set(CMAKE_SIZEOF_VOID_P 8)\nfind_package(bitexport 0.1 REQUIRED)\n"
        "find_package(bitexport 0.0.9)\n"
        'if(bitexport_FOUND)\n  message(FATAL_ERROR "found")\nendif()\n',
        encoding="utf-8",
    )
    told("cmake", "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={root}/usr", folder=tmp_path)


@pytest.mark.parametrize("linking", ["shared", "static"])
def test_pkg_config_gives_what_a_compiler_needs(root: Path, linking: str, tmp_path: Path) -> None:
    lib = root / "usr/lib/x86_64-linux-gnu"
    asked = ["env", f"PKG_CONFIG_PATH={lib}/pkgconfig", "pkg-config", "bitexport"]
    flags = told(*asked, "--cflags", "--libs").split()
    (source,) = root.rglob("self_test_program.c")
    more = [f"-Wl,-rpath,{lib}"] if linking == "shared" else ["-static"]
    told("gcc", "-std=c11", source, *flags, *more, "-o", tmp_path / "program")
    model = Path(told(*asked, "--variable=modeldir").strip()) / "model.bitx"
    assert "scalar: equal, " in told(tmp_path / "program", model)


def test_dpkg_makes_a_package_of_it(root: Path, tmp_path: Path) -> None:
    deb = tmp_path / "bitexport.deb"
    told("dpkg-deb", "--root-owner-group", "--build", root, deb)
    fields = ["Package", "Architecture", "Version", "Depends", "Provides"]
    said = told("dpkg-deb", "--field", deb, *fields)
    assert {"Package: bitexport-tiny", "Architecture: amd64"} <= set(said.splitlines())
    assert "Depends: libc6 (>= 2." in said
    listed = told("dpkg-deb", "--contents", deb)
    assert f" ./{MODEL}\n" in listed
    assert "/LICENSE.bitexport\n" in listed


def test_every_linux_target_is_a_debian_machine() -> None:
    linux = {target.triple for target in load_targets().values() if target.os == "linux"}
    assert linux <= set(ARCHITECTURES)


def test_a_board_has_no_linux(host_bundle: Bundle, output: Path) -> None:
    manifest = {**host_bundle.manifest, "target": "cortex-m4"}
    with pytest.raises(TargetError, match="no Debian machine"):
        write_package("linux", [dataclasses.replace(host_bundle, manifest=manifest)], output)
    assert not output.exists()


def test_one_bundle_at_a_time(bundle_for: BundleFor, output: Path) -> None:
    with pytest.raises(BundleError, match="one bundle, 2 are given"):
        write_package("linux", [bundle_for("host")] * 2, output)
    assert not output.exists()
