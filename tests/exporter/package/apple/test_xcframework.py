"""The libraries of the XCFramework are what its Info.plist says, and compute what they should."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import plistlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import lief
import numpy as np
import pytest
from tests.exporter.package.apple.conftest import Written

from bitexport.emit.manifest import Bundle
from bitexport.errors import TargetError, ToolchainError
from bitexport.package.apple.platforms import load_slices
from bitexport.package.check.artefact import check_artefact
from bitexport.package.kind import write_package
from bitexport.paths import packages_root

FRAMEWORK = "CBitexport.xcframework"
SLICES = {
    "ios-arm64": ("IOS", (15, 0, 0)),
    "ios-arm64-simulator": ("IOS_SIMULATOR", (15, 0, 0)),
    "macos-arm64": ("MACOS", (13, 0, 0)),
}
# Of libSystem, which every program there is linked with.
SYSTEM = {
    "___error", "_bzero", "_close", "_fstat", "_memcmp", "_memcpy", "_memset",
    "_memset_pattern16", "_mmap", "_munmap", "_open", "_strlen", "_sysctlbyname",
}  # fmt: skip
EXTERNAL, PRIVATE, TYPE = 0x01, 0x10, 0x0E  # of n_type: mach-o/nlist.h
DECLARED = re.compile(r"\b(bitx_\w+)\(")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def members(archive: Path) -> Iterator[tuple[str, int, bytes]]:
    """Yield name, offset and bytes of each member, as ar(5) of BSD lays them out."""
    data, at = archive.read_bytes(), 8
    assert data[:at] == b"!<arch>\n"
    while at < len(data):
        name, size = data[at : at + 16].decode().strip(), int(data[at + 48 : at + 58])
        start, end = at + 60, at + 60 + size
        if name.startswith("#1/"):
            start += int(name[3:])
            name = data[at + 60 : start].rstrip(b"\0").decode()
        yield name, start, data[start:end]
        at = end + end % 2


@dataclasses.dataclass(frozen=True)
class Object:
    """What lief reads in an object file; its own classes do not outlive the file."""

    made_for: tuple[str, str, str, tuple[int, ...]]
    symbols: tuple[tuple[str, int], ...]
    code: bytes


def read_object(data: bytes) -> Object:
    parsed = lief.MachO.parse(data)
    assert parsed is not None
    binary = parsed.at(0)
    header, version = binary.header, binary.build_version
    (code,) = [bytes(part.content) for part in binary.sections if part.name == "__text"]
    return Object(
        (header.cpu_type.name, header.file_type.name, version.platform.name, tuple(version.minos)),
        tuple((str(each.name), int(each.raw_type)) for each in binary.symbols),
        code,
    )


def objects(package: Path, name: str) -> list[Object]:
    """Return what the library of a slice is made of."""
    found = members(package / FRAMEWORK / name / "libbitexport.a")
    return [read_object(data) for member, _, data in found if member.endswith(".o")]


def fused(code: bytes) -> int:
    """Count the instructions that multiply and add in one rounding (Arm ARM, C4.1.96)."""
    words = np.frombuffer(code, "<u4")
    scalar = words >> 24 == 0x1F
    three_same = np.isin(words & 0xBFA0FC00, (0x0E20CC00, 0x0EA0CC00))
    by_element = np.isin(words & 0xBF80F400, (0x0F801000, 0x0F805000))
    return int((scalar | three_same | by_element).sum())


def test_there_is_a_slice_for_each_system() -> None:
    assert set(load_slices()) == set(SLICES)


@pytest.mark.parametrize("name", SLICES)
def test_every_object_is_for_its_system(package: Path, name: str) -> None:
    found = objects(package, name)
    assert [each.made_for for each in found] == [("ARM64", "OBJECT", *SLICES[name])] * 2


@pytest.mark.parametrize("name", SLICES)
def test_apples_linker_takes_the_archive(package: Path, name: str) -> None:
    """It wants a table of symbols first, and 64-bit members at multiples of eight."""
    found = list(members(package / FRAMEWORK / name / "libbitexport.a"))
    assert found[0][0].startswith("__.SYMDEF")
    assert [at % 8 for _, at, _ in found[1:]] == [0, 0]


@pytest.mark.parametrize("name", SLICES)
def test_a_linker_sees_what_the_headers_declare(package: Path, name: str) -> None:
    headers = (package / FRAMEWORK / name / "Headers" / "CBitexport").glob("*.h")
    declared = {
        f"_{function}"
        for header in headers
        for function in DECLARED.findall(COMMENT.sub("", header.read_text("utf-8")))
    }
    symbols = [symbol for each in objects(package, name) for symbol in each.symbols]
    outside = [(symbol, kind) for symbol, kind in symbols if kind & EXTERNAL]
    assert {symbol for symbol, kind in outside if kind & TYPE and not kind & PRIVATE} == declared
    assert len(declared) > 40
    used = {symbol for symbol, kind in outside if not kind & TYPE}
    assert used <= SYSTEM | declared


@pytest.mark.parametrize("name", SLICES)
def test_no_product_is_added_before_it_is_rounded(package: Path, name: str) -> None:
    """Swift's package manager cannot say -ffp-contract=off, so the source does."""
    for each in objects(package, name):
        assert len(each.code) > 100
        assert fused(each.code) == 0


@pytest.mark.parametrize(("pragma", "count"), [("", 1), ("#pragma STDC FP_CONTRACT OFF\n", 0)])
def test_clang_fuses_unless_the_source_forbids_it(pragma: str, count: int, tmp_path: Path) -> None:
    (tmp_path / "sum.c").write_text(f"{pragma}float f(float a, float b) {{ return a * b + b; }}\n")
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-ios.15.0", "-std=c11"]
    subprocess.run([*command, "-O2", "-g0", "-c", "sum.c", "-o", "sum.o"], cwd=tmp_path, check=True)
    assert fused(read_object((tmp_path / "sum.o").read_bytes()).code) == count


def test_a_program_is_linked_that_needs_the_system_alone(package: Path, tmp_path: Path) -> None:
    """By zig, which has the names of macOS's libSystem; nothing here has those of iOS."""
    folder = package / FRAMEWORK / "macos-arm64"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-macos.13.0", "-g0"]
    source = packages_root() / "cmake/self_test_program.c"
    words = [f"-I{folder}/Headers/CBitexport", source, folder / "libbitexport.a", "-o", "program"]
    subprocess.run([*command, *words], cwd=tmp_path, check=True)
    parsed = lief.MachO.parse((tmp_path / "program").read_bytes())
    assert parsed is not None
    program = parsed.at(0)
    assert program.header.file_type.name == "EXECUTE"
    assert [each.name for each in program.libraries] == ["/usr/lib/libSystem.B.dylib"]
    assert tuple(program.build_version.minos) == (13, 0, 0)


def test_the_plist_says_what_is_there(package: Path) -> None:
    info = plistlib.loads((package / FRAMEWORK / "Info.plist").read_bytes())
    assert info["CFBundlePackageType"] == "XFWK"
    assert info["XCFrameworkFormatVersion"] == "1.0"
    assert {each["LibraryIdentifier"] for each in info["AvailableLibraries"]} == set(SLICES)
    for each in info["AvailableLibraries"]:
        folder = package / FRAMEWORK / each["LibraryIdentifier"]
        assert (folder / each["LibraryPath"]).is_file()
        assert (folder / each["HeadersPath"] / "CBitexport/module.modulemap").is_file()


@pytest.mark.parametrize("name", [FRAMEWORK, f"{FRAMEWORK}.zip"])
def test_the_linter_finds_nothing(package: Path, name: str) -> None:
    findings = check_artefact(package / name)
    assert findings.found == []
    assert len(findings.looked_at) == len(SLICES)


def test_the_checksum_is_what_swift_computes(written: Written) -> None:
    archive = written.path / f"{FRAMEWORK}.zip"
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert f"{FRAMEWORK}.zip: checksum {checksum}\n" in written.said
    with zipfile.ZipFile(archive) as members:
        assert {name.partition("/")[0] for name in members.namelist()} == {FRAMEWORK}
        for name in members.namelist():
            assert members.read(name) == (written.path / name).read_bytes()


def test_without_zig_nothing_is_written(
    arm64_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match="`ziglang` is not installed") as caught:
        write_package("apple", [arm64_bundle], tmp_path / "package")
    assert caught.value.exit_code == 5
    assert "pip install 'bitexport[apple]'" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_a_board_is_refused(tiny_board: Bundle, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"--apple: .* a board"):
        write_package("apple", [tiny_board], tmp_path / "package")
    assert list(tmp_path.iterdir()) == []
