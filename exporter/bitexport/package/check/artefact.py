"""Check an artefact, ours or anyone's: AAR, APK, XCFramework, a library, or a folder of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from bitexport.errors import BundleError
from bitexport.package.check.android_rules import (
    MANIFEST,
    check_aar,
    check_apk,
    check_libraries,
    check_names,
    libraries_of,
)
from bitexport.package.check.apple_rules import INFO, check_xcframework
from bitexport.package.check.archives import MOST_BYTES, Entry, open_folder, open_zip
from bitexport.package.check.elf import MAGIC, DamagedError
from bitexport.package.check.elf_rules import check_elf
from bitexport.package.check.findings import Findings
from bitexport.package.check.macho import is_macho, read_macho
from bitexport.package.check.manifest import Manifest
from bitexport.package.check.strings import check_strings

ZIP_MAGIC = b"PK\x03\x04"
BINARY = (".so", ".a", ".dylib", ".jar", ".dex")
TEXT = (".txt", ".xml", ".json", ".properties", ".plist", ".pro", ".js", ".cfg", ".pem", ".key")


def check_artefact(path: Path) -> Findings:
    """Return what breaks a rule of rules.toml in a file or folder; nothing is changed or run."""
    if not path.exists():
        raise BundleError(f"{path}: there is no such file", hint="give a path to an artefact")
    findings = Findings()
    if path.is_dir():
        _check_folder(path, findings)
        return findings
    with path.open("rb") as stream:
        head = stream.read(8)
    if head.startswith(ZIP_MAGIC):
        _check_zip(path, findings)
    elif head.startswith(MAGIC):
        data = path.read_bytes()
        check_elf(data, path.name, findings, None)
        check_strings(data, path.name, findings)
    else:
        raise BundleError(
            f"{path}: neither an archive, an ELF file nor a folder",
            hint="give an AAR, APK, XCFramework (folder or .zip), a .so, or a folder of these",
        )
    return findings


def _check_folder(path: Path, findings: Findings) -> None:
    entries = open_folder(path)
    if path.suffix == ".xcframework":
        check_xcframework(entries, "", findings)
        _check_strings(entries, findings)
        return
    _check_content(entries, findings)
    for name in entries:
        if PurePosixPath(name).suffix in (".aar", ".apk"):
            inner = Findings()
            _check_zip(path / name, inner)
            for each in inner.found:
                findings.add(each.rule.name, f"{name}!{each.where}", each.seen)
            findings.looked_at += [f"{name}!{each}" for each in inner.looked_at]


def _check_zip(path: Path, findings: Findings) -> None:
    entries = open_zip(path)
    check_names(entries, findings)
    needed, manifest = "needed", None
    if path.suffix == ".aar" or ("classes.jar" in entries and MANIFEST in entries):
        manifest = check_aar(entries, findings)
        needed = "needed-elsewhere"
    elif path.suffix == ".apk" or MANIFEST in entries:
        manifest = check_apk(entries, path.stat().st_size, findings)
    _check_content(entries, findings, needed, manifest)


def _check_content(
    entries: Mapping[str, Entry], findings: Findings, needed: str = "needed-elsewhere",
    manifest: Manifest | None = None,
) -> None:  # fmt: skip
    """Check the libraries and frameworks that lie anywhere in an archive or folder.

    `needed`: the rule that a library breaks whose needs are neither there nor of the system.
    """
    check_libraries(entries, findings, needed, manifest)
    android = {each.name for group in libraries_of(entries).values() for each in group}
    for name, entry in entries.items():
        if name.endswith((".so", ".dylib")) and name not in android and _fits(entry):
            _check_library(entry.load(), name, findings)
    for name in entries:
        parts = PurePosixPath(name).parts
        if len(parts) > 1 and parts[-1] == INFO and parts[-2].endswith(".xcframework"):
            check_xcframework(entries, name.removesuffix(INFO), findings)
    _check_strings(entries, findings)


def _check_library(data: bytes, where: str, findings: Findings) -> None:
    """Check a library that lies in no folder of an ABI: by what it says of itself."""
    if not _is_code(data):
        check_elf(data, where, findings, None)
        return
    try:
        said = (f"{i.architecture}:{i.platform}:{i.oldest}" for i in read_macho(data))
        findings.look(where, f"Mach-O {' '.join(said)}")
    except DamagedError as error:
        findings.add("damaged", where, f"not readable as Mach-O: {error}")


def _check_strings(entries: Mapping[str, Entry], findings: Findings) -> None:
    for name, entry in entries.items():
        if entry.is_link or not _fits(entry):
            continue
        suffix = PurePosixPath(name).suffix
        data = entry.load() if suffix in (*BINARY, *TEXT, "") else b""
        if suffix in (*BINARY, *TEXT) or data.startswith(MAGIC) or (data and _is_code(data)):
            check_strings(data, name, findings)


def _is_code(data: bytes) -> bool:
    try:
        return is_macho(data)
    except DamagedError:
        return False


def _fits(entry: Entry) -> bool:
    return entry.size <= MOST_BYTES
