"""Archives whose bytes depend on nothing but what they hold."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from bitexport.package.android.library import PAGE_BYTES

OLDEST = (1980, 1, 1, 0, 0, 0)
PERMISSIONS = 0o100644 << 16
UNIX = 3
PADDING = 0xD935  # the extra field that Android's own tools write; apksigner keeps what it says
LOCAL_HEADER = 30
MAPPED = {".so": PAGE_BYTES, ".arsc": 4, ".bitx": 4}
"""What Android reads where it lies in an APK: uncompressed, at multiples of so many bytes."""


def write_zip(output: Path, members: Mapping[str, bytes]) -> None:
    """Write members in the order of their names; what Android maps, uncompressed and aligned.

    Gradle copies a library of an AAR as it finds it.
    """
    with zipfile.ZipFile(output, "w") as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, OLDEST)
            info.create_system, info.external_attr = UNIX, PERMISSIONS
            info.compress_type = zipfile.ZIP_DEFLATED
            if alignment := MAPPED.get(PurePosixPath(name).suffix):
                info.compress_type = zipfile.ZIP_STORED
                assert archive.fp is not None
                start = archive.fp.tell() + LOCAL_HEADER + len(name.encode())
                info.extra = _padding(start, alignment)
            archive.writestr(info, members[name])


def _padding(start: int, alignment: int) -> bytes:
    """Return the extra field behind which aligned bytes begin; it starts at `start`."""
    head = struct.calcsize("<HHH")
    fill = -(start + head) % alignment
    return struct.pack("<HHH", PADDING, 2 + fill, alignment) + bytes(fill)
