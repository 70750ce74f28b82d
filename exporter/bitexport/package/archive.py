"""Archives whose bytes depend on nothing but what they hold."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from bitexport.package.android.library import PAGE_BYTES

OLDEST = (1980, 1, 1, 0, 0, 0)
PERMISSIONS = 0o100644 << 16
UNIX = 3
PADDING = 0xD935  # the extra field that Android's own zipalign writes
LOCAL_HEADER = 30


def write_zip(output: Path, members: Mapping[str, bytes]) -> None:
    """Write members in the order of their names; libraries uncompressed, at multiples of a page.

    Android maps a library where it lies in an APK, and Gradle copies one as it finds it.
    """
    with zipfile.ZipFile(output, "w") as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, OLDEST)
            info.create_system, info.external_attr = UNIX, PERMISSIONS
            info.compress_type = zipfile.ZIP_DEFLATED
            if name.endswith(".so"):
                info.compress_type = zipfile.ZIP_STORED
                assert archive.fp is not None
                info.extra = _padding(archive.fp.tell() + LOCAL_HEADER + len(name.encode()))
            archive.writestr(info, members[name])


def _padding(start: int) -> bytes:
    """Return the extra field behind which a page begins; it starts at `start`."""
    head = struct.calcsize("<HHH")
    fill = -(start + head) % PAGE_BYTES
    return struct.pack("<HHH", PADDING, 2 + fill, PAGE_BYTES) + bytes(fill)
