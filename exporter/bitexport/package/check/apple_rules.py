"""What Xcode and App Store Connect ask of an XCFramework."""

from __future__ import annotations

import plistlib
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from xml.parsers.expat import ExpatError

from bitexport.package.check.archives import Entry
from bitexport.package.check.elf import DamagedError
from bitexport.package.check.findings import Findings
from bitexport.package.check.macho import MachO, is_macho, read_macho

INFO, MODULE_MAP = "Info.plist", "module.modulemap"
KEYS = {"AvailableLibraries": list, "CFBundlePackageType": str, "XCFrameworkFormatVersion": str}
LIBRARY_KEYS = {"LibraryIdentifier": str, "LibraryPath": str, "SupportedArchitectures": list,
                "SupportedPlatform": str}  # fmt: skip
FRAMEWORK_KEYS = ("CFBundleExecutable", "CFBundleIdentifier", "CFBundlePackageType",
                  "CFBundleShortVersionString", "CFBundleSupportedPlatforms", "CFBundleVersion",
                  "MinimumOSVersion")  # fmt: skip
NOT_ON_MACOS = frozenset({"CFBundleSupportedPlatforms", "MinimumOSVersion"})
IDENTIFIER = re.compile(r"[A-Za-z0-9.-]+")
TEXT_BYTES = 500_000_000


def check_xcframework(entries: Mapping[str, Entry], root: str, findings: Findings) -> None:
    """Check the XCFramework in the folder `root` (empty, or ending in a slash)."""
    info = _plist(entries, f"{root}{INFO}", "xcframework-plist", findings)
    if info is None:
        return
    where = f"{root}{INFO}"
    for key, kind in KEYS.items():
        if not isinstance(info.get(key), kind):
            findings.add("xcframework-plist", where, f"no {key}")
    if info.get("CFBundlePackageType", "XFWK") != "XFWK":
        findings.add("xcframework-plist", where, "CFBundlePackageType is not XFWK")
    slices = set()
    listed = info.get("AvailableLibraries")
    for each in listed if isinstance(listed, list) else []:
        library = each if isinstance(each, dict) else {}
        missing = [
            key for key, kind in LIBRARY_KEYS.items() if not isinstance(library.get(key), kind)
        ]
        if missing:
            findings.add("xcframework-plist", where, f"a library without {', '.join(missing)}")
            continue
        slices.add(_platform_of(library))
        _check_slice(entries, root, library, findings)
    if "ios" in slices and "ios-simulator" not in slices:
        findings.add("no-simulator", where, ", ".join(sorted(slices)))
    if not any(name.endswith("PrivacyInfo.xcprivacy") for name in entries):
        findings.add("privacy-manifest", root.rstrip("/") or "the XCFramework", "none in it")


def _platform_of(library: Mapping[str, Any]) -> str:
    variant = library.get("SupportedPlatformVariant")
    return f"{library['SupportedPlatform']}-{variant}" if variant else library["SupportedPlatform"]


def _check_slice(
    entries: Mapping[str, Entry], root: str, library: Mapping[str, Any], findings: Findings
) -> None:
    folder = f"{root}{library['LibraryIdentifier']}/"
    path = folder + library["LibraryPath"]
    name = PurePosixPath(library["LibraryPath"])
    plist: Mapping[str, Any] | None = None
    if name.suffix == ".framework":
        plist, binary = _framework(entries, path, library, findings)
    else:
        binary = path
        if name.suffix == ".dylib" and library["SupportedPlatform"] != "macos":
            findings.add("bare-dylib", path, f"for {library['SupportedPlatform']}")
        headers = f"{folder}{library.get('HeadersPath', 'Headers')}"
        if f"{headers}/{MODULE_MAP}" in entries:
            findings.add("module-map", headers, f"{MODULE_MAP} lies at the top")
    binary = _followed(entries, binary)
    if binary not in entries:
        findings.add("xcframework-slice", path, "is not there")
        return
    data = entries[binary].load()
    try:
        images = read_macho(data) if is_macho(data) else ()
    except DamagedError as error:
        findings.add("damaged", binary, f"not readable as Mach-O: {error}")
        return
    said = " ".join(f"{i.architecture}:{i.platform}:{i.oldest}" for i in images) or "no Mach-O"
    findings.look(binary, f"Mach-O {said}")
    _check_images(images, binary, library, plist, findings)


def _framework(
    entries: Mapping[str, Entry], path: str, library: Mapping[str, Any], findings: Findings
) -> tuple[Mapping[str, Any] | None, str]:
    """Check a framework's own Info.plist; return it, and where its binary lies."""
    macos = library["SupportedPlatform"] == "macos" or (
        library.get("SupportedPlatformVariant") == "maccatalyst"
    )
    versions = sorted({
        name[len(path) :].split("/")[2]
        for name in entries
        if name.startswith(f"{path}/Versions/") and name[len(path) :].split("/")[2] != "Current"
    })  # fmt: skip
    inner = path
    if macos and not versions:
        findings.add("macos-framework", path, "has no Versions/")
    elif macos:
        inner = f"{path}/Versions/{versions[0]}"
    where = f"{inner}/Resources/{INFO}" if versions and macos else f"{inner}/{INFO}"
    plist = _plist(entries, where, "framework-plist", findings)
    stem = PurePosixPath(path).stem
    if plist is None:
        return None, f"{inner}/{stem}"
    for key in FRAMEWORK_KEYS:
        if key not in plist and not (macos and key in NOT_ON_MACOS):
            findings.add("framework-plist", where, f"no {key}")
    identifier = str(plist.get("CFBundleIdentifier", "x"))
    if not IDENTIFIER.fullmatch(identifier):
        findings.add("bundle-identifier", where, identifier)
    return plist, f"{inner}/{plist.get('CFBundleExecutable', stem)}"


def _followed(entries: Mapping[str, Entry], name: str) -> str:
    """Return where a symbolic link of an archive leads; a folder's are followed by the system."""
    entry = entries.get(name)
    if entry is None or not entry.is_link or entry.offset == 0:
        return name
    target = entry.load().decode("utf-8", "replace")
    return str(PurePosixPath(name).parent / target)


def _check_images(
    images: tuple[MachO, ...], where: str, library: Mapping[str, Any],
    plist: Mapping[str, Any] | None, findings: Findings,
) -> None:  # fmt: skip
    there, said = (
        {i.architecture for i in images},
        {str(each) for each in library["SupportedArchitectures"]},
    )
    if there != said:
        findings.add(
            "xcframework-slice", where,
            f"SupportedArchitectures are {' '.join(sorted(said))}, the file has "
            f"{' '.join(sorted(there)) or 'none'}",
        )  # fmt: skip
    platform = _platform_of(library)
    for seen in sorted({i.platform for i in images if i.platform and i.platform != platform}):
        if not (platform == "ios-simulator" and seen == "ios" and "x86_64" in there):
            findings.add("xcframework-slice", where, f"listed for {platform}, built for {seen}")
    promised = plist and plist.get("MinimumOSVersion")
    if promised and not platform.endswith("-simulator"):  # which no store looks at
        for oldest in sorted({i.oldest for i in images if i.oldest}):
            if _numbers(oldest) != _numbers(promised):
                newer = _numbers(oldest) > _numbers(promised)
                findings.add(
                    "minimum-os" if newer else "minimum-os-older", where,
                    f"MinimumOSVersion {promised}, built for {oldest}",
                )  # fmt: skip
    for image in images:
        if image.text_bytes > TEXT_BYTES:
            findings.add("apple-size", where, f"{image.architecture}: {image.text_bytes} bytes")


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"\d+", str(version))]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _plist(
    entries: Mapping[str, Entry], name: str, rule: str, findings: Findings
) -> Mapping[str, Any] | None:
    """Return a property list, a table; or None, with a finding."""
    if name not in entries:
        findings.add(rule, name, "is missing")
        return None
    try:
        info = plistlib.loads(entries[name].load())
    except (plistlib.InvalidFileException, ExpatError, ValueError, OverflowError) as error:
        findings.add("damaged", name, f"not readable as a property list: {error}")
        return None
    if not isinstance(info, dict):
        findings.add(rule, name, "is no table")
        return None
    return info
