"""Artefacts that break one rule each: libraries that gcc links here, archives, and Mach-O bytes."""

from __future__ import annotations

import plistlib
import struct
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CODE = "int bitexport_answer(void); int bitexport_answer(void) { return 42; }\n"
SOUND = ("-Wl,-z,max-page-size=16384", "-Wl,-z,noexecstack", "-Wl,--build-id=none", "-nostdlib")
ANDROID = "http://schemas.android.com/apk/res/android"
MANIFEST = f'<manifest xmlns:android="{ANDROID}"><uses-sdk android:minSdkVersion="21"/></manifest>'
ATTRIBUTES = {
    "minSdkVersion": 0x0101020C, "targetSdkVersion": 0x01010270, "debuggable": 0x0101000F,
    "extractNativeLibs": 0x010104EA,
}  # fmt: skip
ARM64, X86_64 = 0x0100000C, 0x01000007
IOS, SIMULATOR, MACOS = 2, 7, 1


def library(
    path: Path, more: Sequence[str] = ("-s",), code: str = CODE, soname: str | None = "",
    flags: Sequence[str] = SOUND,
) -> Path:  # fmt: skip
    """Link a shared library for x86-64; its SONAME is its file's name unless another is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name if soname == "" else soname
    named = [f"-Wl,-soname,{name}"] if name else []
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-x", "none", *flags, *named]
    subprocess.run([*command, *more, "-o", path], input=code.encode(), check=True, cwd=path.parent)
    return path


def archive(
    path: Path, files: Mapping[str, bytes | str], *, align: int = 1, stored: bool = True
) -> Path:
    """Write a ZIP archive, the bytes of each file aligned as zipalign does it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as out:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            assert out.fp is not None
            begins = out.fp.tell() + 30 + len(name)
            info.extra = b"\0" * (-begins % align)
            out.writestr(info, content)
    return path


def binary_manifest(*elements: tuple[str, Mapping[str, int | bool]]) -> bytes:
    """Return a manifest as an APK has it: a pool of strings, then elements with typed attributes.

    The format is Android's frameworks/base/libs/androidfw/include/androidfw/ResourceTypes.h.
    """
    strings = [*ATTRIBUTES, "android", ANDROID, "manifest", *(name for name, _ in elements)]
    starts, text = [], b""
    for each in strings:
        starts.append(len(text))
        text += struct.pack("<H", len(each)) + each.encode("utf-16-le") + b"\0\0"
    text += bytes(-len(text) % 4)
    head = struct.pack("<IIIII", len(strings), 0, 0, 28 + 4 * len(strings), 0)
    pool = _chunk(1, head, struct.pack(f"<{len(starts)}I", *starts) + text)
    pool += _chunk(0x180, b"", struct.pack(f"<{len(ATTRIBUTES)}I", *ATTRIBUTES.values()))
    none, number = 0xFFFFFFFF, strings.index

    def node(kind: int, body: bytes) -> bytes:
        return _chunk(kind, struct.pack("<II", 1, none), body)

    def element(name: str, said: Mapping[str, int | bool]) -> bytes:
        start = struct.pack("<IIHHHHHH", none, number(name), 20, 20, len(said), 0, 0, 0)
        for key, value in said.items():
            kind = 0x12 if isinstance(value, bool) else 0x10
            data = none if value is True else int(value)
            start += struct.pack("<IIIHBBI", number(ANDROID), number(key), none, 8, 0, kind, data)
        return node(0x102, start)

    def end(name: str) -> bytes:
        return node(0x103, struct.pack("<II", none, number(name)))

    space = struct.pack("<II", number("android"), number(ANDROID))
    inner = b"".join(element(name, said) + end(name) for name, said in elements)
    tree = node(0x100, space) + element("manifest", {}) + inner + end("manifest")
    return _chunk(3, b"", pool + tree + node(0x101, space))


def _chunk(kind: int, head: bytes, body: bytes) -> bytes:
    return struct.pack("<HHI", kind, 8 + len(head), 8 + len(head + body)) + head + body


def macho(
    cpu: int = ARM64, platform: int = IOS, oldest: str = "13.0", text: int = 4096, kind: int = 6
) -> bytes:
    """Return a Mach-O file of a header, a segment __TEXT and LC_BUILD_VERSION."""
    major, minor = map(int, oldest.split("."))
    segment = struct.pack("<II16sQQQQiiII", 0x19, 72, b"__TEXT", 0, text, 0, text, 5, 5, 0, 0)
    version = struct.pack("<IIIIII", 0x32, 24, platform, major << 16 | minor << 8, 0, 0)
    header = struct.pack("<IIIIIIII", 0xFEEDFACF, cpu, 0, kind, 2, len(segment + version), 0, 0)
    return header + segment + version


def framework_plist(**changes: object) -> dict[str, Any]:
    """Return a sound Info.plist of a framework; a change to None takes a key out."""
    info = {
        "CFBundleExecutable": "Model", "CFBundleIdentifier": "org.example.Model",
        "CFBundlePackageType": "FMWK", "CFBundleShortVersionString": "1.0", "CFBundleVersion": "1",
        "CFBundleSupportedPlatforms": ["iPhoneOS"], "MinimumOSVersion": "13.0",
    } | changes  # fmt: skip
    return {key: value for key, value in info.items() if value is not None}


def xcframework(
    path: Path, *, info: Mapping[str, object] | None = None, binary: bytes | None = None,
    library: Mapping[str, object] | None = None, privacy: bool = True, simulator: bool = True,
    top: Mapping[str, object] | None = None, headers: str = "Headers/Model",
) -> Path:  # fmt: skip
    """Write an XCFramework with a framework for devices and a static library for simulators.

    headers: where the static library has its module map.
    """
    device = {
        "LibraryIdentifier": "ios-arm64", "LibraryPath": "Model.framework",
        "SupportedArchitectures": ["arm64"], "SupportedPlatform": "ios",
    } | dict(library or {})  # fmt: skip
    listed = [device]
    if simulator:
        listed.append({
            "LibraryIdentifier": "ios-arm64-simulator", "LibraryPath": "libmodel.a",
            "SupportedArchitectures": ["arm64"], "SupportedPlatform": "ios",
            "SupportedPlatformVariant": "simulator",
        })  # fmt: skip
        member = macho(platform=SIMULATOR, kind=1)
        header = f"{'model.o/':16}{0:<12}{0:<6}{0:<6}{644:<8}{len(member):<10}`\n".encode()
        (path / "ios-arm64-simulator").mkdir(parents=True)
        (path / "ios-arm64-simulator/libmodel.a").write_bytes(b"!<arch>\n" + header + member)
        module_map = path / "ios-arm64-simulator" / headers / "module.modulemap"
        module_map.parent.mkdir(parents=True)
        module_map.write_text("module Model { }\n")
    place = path / str(device["LibraryIdentifier"]) / str(device["LibraryPath"])
    if place.suffix == ".framework":
        place.mkdir(parents=True)
        written = plistlib.dumps(dict(info) if info is not None else framework_plist())
        (place / "Info.plist").write_bytes(written)
        (place / "Model").write_bytes(binary or macho())
        if privacy:
            (place / "PrivacyInfo.xcprivacy").write_bytes(plistlib.dumps({}))
    else:
        place.parent.mkdir(parents=True)
        place.write_bytes(binary or macho())
    about = {
        "AvailableLibraries": listed, "CFBundlePackageType": "XFWK",
        "XCFrameworkFormatVersion": "1.0",
    } | dict(top or {})  # fmt: skip
    (path / "Info.plist").write_bytes(plistlib.dumps(about))
    return path
