"""Files of a folder or a ZIP archive, the same way; nothing is unpacked to the disk."""

from __future__ import annotations

import dataclasses
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from bitexport.errors import BundleError

LOCAL_HEADER = struct.Struct("<26xHH")  # the lengths of name and extra field
MOST_BYTES = 1 << 30  # of one file; what is larger is no code


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One file."""

    name: str
    size: int
    packed: int
    """Bytes in the archive."""
    stored: bool
    """Whether it lies there uncompressed."""
    offset: int
    """Where its bytes begin in the archive; 0 in a folder."""
    is_link: bool
    load: Callable[[], bytes]


def open_folder(path: Path) -> dict[str, Entry]:
    """Return the files below a folder by relative name."""
    found = {}
    for file in sorted(path.rglob("*")):
        if file.is_file() or file.is_symlink():
            name = file.relative_to(path).as_posix()
            size = file.stat().st_size if file.exists() else 0
            found[name] = Entry(
                name=name, size=size, packed=size, stored=True, offset=0,
                is_link=file.is_symlink(), load=file.read_bytes,
            )  # fmt: skip
    return found


def open_zip(path: Path) -> dict[str, Entry]:
    """Return the files of a ZIP archive by name."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise BundleError(
            f"{path}: not a ZIP archive that can be read: {error}", hint="build or copy it again"
        ) from error
    found = {}
    with path.open("rb") as stream:
        for info in archive.infolist():
            if info.is_dir():
                continue
            stream.seek(info.header_offset)
            header = stream.read(LOCAL_HEADER.size)
            lengths = LOCAL_HEADER.unpack(header) if len(header) == LOCAL_HEADER.size else (0, 0)
            found[info.filename] = Entry(
                name=info.filename,
                size=info.file_size,
                packed=info.compress_size,
                stored=info.compress_type == zipfile.ZIP_STORED,
                offset=info.header_offset + LOCAL_HEADER.size + sum(lengths),
                is_link=stat.S_ISLNK(info.external_attr >> 16),
                load=_loader(archive, info),
            )
    return found


def _loader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    def load() -> bytes:
        if info.file_size > MOST_BYTES:
            raise BundleError(
                f"{info.filename}: has {info.file_size} bytes unpacked, too many to look into",
                hint="check the files one by one",
            )
        try:
            return archive.read(info)
        except (zipfile.BadZipFile, RuntimeError, EOFError, OSError, zlib.error) as error:
            raise BundleError(
                f"{info.filename}: cannot be unpacked: {error}", hint="make the archive again"
            ) from error

    return load
