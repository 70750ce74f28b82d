"""Read a Mach-O file, thin or universal: architecture, platform, oldest system, what kind it is.

`mach-o/loader.h` and `mach-o/fat.h` of Apple's open-source xnu and cctools.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

from bitexport.package.check.elf import ARCHIVE_MAGIC, DamagedError, archive_members

MAGICS = {
    b"\xcf\xfa\xed\xfe": ("<", 32),
    b"\xce\xfa\xed\xfe": ("<", 28),
    b"\xfe\xed\xfa\xcf": (">", 32),
    b"\xfe\xed\xfa\xce": (">", 28),
}
FAT, FAT_64 = b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"
MOST_ARCHITECTURES = 32  # a Java class file begins as a universal file does

ARCHITECTURES = {0x0100000C: "arm64", 0x01000007: "x86_64", 12: "armv7", 7: "i386",
                 0x0200000C: "arm64_32"}  # fmt: skip
ARM64, ARM64E, SUBTYPE = 0x0100000C, 2, 0x00FFFFFF
MH_DYLIB, MH_OBJECT = 6, 1
LC_SEGMENT, LC_SEGMENT_64, LC_BUILD_VERSION = 0x1, 0x19, 0x32
VERSION_MIN = {0x24: "macos", 0x25: "ios", 0x2F: "tvos", 0x30: "watchos"}
PLATFORMS = {1: "macos", 2: "ios", 3: "tvos", 4: "watchos", 6: "ios-maccatalyst",
             7: "ios-simulator", 8: "tvos-simulator", 9: "watchos-simulator", 11: "xros",
             12: "xros-simulator"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class MachO:
    """What the load commands of one architecture say."""

    architecture: str
    kind: int
    platform: str | None
    """As an XCFramework says it: platform, and after a hyphen its variant."""
    oldest: str | None
    """The oldest system that it was built for, as `13.0`."""
    text_bytes: int


def is_macho(data: bytes) -> bool:
    """Whether a file begins as Mach-O, a universal file or a static library of such does."""
    if data[:8] == ARCHIVE_MAGIC:
        return any(body[:4] in MAGICS for _, body in archive_members(data))
    return data[:4] in MAGICS or data[:4] in (FAT, FAT_64)


def read_macho(data: bytes) -> tuple[MachO, ...]:
    """Return each distinct image of a file; of a static library, those of its members."""
    try:
        found = dict.fromkeys(image for part in _parts(data) for image in _images(part))
    except struct.error as error:
        raise DamagedError(str(error)) from error
    return tuple(found)


def _parts(data: bytes) -> Iterator[bytes]:
    """Yield the file of each architecture."""
    if data[:4] not in (FAT, FAT_64):
        yield data
        return
    (count,) = struct.unpack_from(">I", data, 4)
    if count > MOST_ARCHITECTURES:
        raise DamagedError(f"it has {count} architectures")
    for i in range(count):
        if data[:4] == FAT:
            _, _, at, size, _ = struct.unpack_from(">IIIII", data, 8 + 20 * i)
        else:
            _, _, at, size, _, _ = struct.unpack_from(">IIQQII", data, 8 + 32 * i)
        if at + size > len(data):
            raise DamagedError("an architecture lies behind its end")
        yield data[at : at + size]


def _images(part: bytes) -> Iterator[MachO]:
    if part[:8] == ARCHIVE_MAGIC:
        for _, body in archive_members(part):
            if body[:4] in MAGICS:
                yield _image(body)
    elif part[:4] in MAGICS:
        yield _image(part)
    else:
        raise DamagedError("an architecture does not begin as Mach-O does")


def _image(data: bytes) -> MachO:
    order, at = MAGICS[data[:4]]
    cpu, subtype, kind, count, _ = struct.unpack_from(f"{order}IIIII", data, 4)
    platform, oldest, text = None, None, 0
    for _ in range(count):
        command, size = struct.unpack_from(f"{order}II", data, at)
        if command == LC_BUILD_VERSION:
            number, version = struct.unpack_from(f"{order}II", data, at + 8)
            platform, oldest = PLATFORMS.get(number, f"platform {number}"), _version(version)
        elif command in VERSION_MIN:
            (version,) = struct.unpack_from(f"{order}I", data, at + 8)
            platform, oldest = VERSION_MIN[command], _version(version)
        elif command in (LC_SEGMENT, LC_SEGMENT_64):
            name = data[at + 8 : at + 24].rstrip(b"\0")
            form = "Q" if command == LC_SEGMENT_64 else "I"
            (memory,) = struct.unpack_from(order + form, data, at + 24 + struct.calcsize(form))
            text += memory if name == b"__TEXT" else 0
        if size < 8:  # noqa: PLR2004
            raise DamagedError("a load command has no size")
        at += size
    return MachO(_architecture(cpu, subtype), kind, platform, oldest, text)


def _architecture(cpu: int, subtype: int) -> str:
    if cpu == ARM64 and subtype & SUBTYPE == ARM64E:
        return "arm64e"
    return ARCHITECTURES.get(cpu, f"cpu {cpu:#x}")


def _version(packed: int) -> str:
    parts = [packed >> 16, packed >> 8 & 255, packed & 255]
    return ".".join(map(str, parts if parts[2] else parts[:2]))
