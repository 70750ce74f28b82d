"""Read an ELF file: program headers, dynamic section, symbols, versions.  Nothing is run.

System V gABI (https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html), and for GNU_HASH and
versions the Linux Standard Base.  What a loader reads is read as a loader does, by the dynamic
section; so a file without section headers, as packers leave, is understood too.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterator
from typing import Any

MAGIC = b"\x7fELF"
ARCHIVE_MAGIC = b"!<arch>\n"

PT_LOAD, PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO = 1, 2, 0x6474E551, 0x6474E552
PF_X, PF_W = 1, 2
SHF_ALLOC, ET_DYN = 2, 3
CLASS_64, STB_WEAK = 2, 2

DT_NEEDED, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_SONAME, DT_RPATH = 1, 4, 5, 6, 14, 15
DT_TEXTREL, DT_FLAGS, DT_RUNPATH = 22, 30, 29
DT_GNU_HASH, DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFEF5, 0x6FFFFFFE, 0x6FFFFFFF
DF_TEXTREL = 4
ANDROID_NOTE = ".note.android.ident"

MACHINES = {3: "x86", 40: "arm", 62: "x86-64", 164: "hexagon", 183: "aarch64", 243: "riscv"}


class DamagedError(Exception):
    """The file ends, or points, where it must not."""


@dataclasses.dataclass(frozen=True)
class Segment:
    """A program header."""

    kind: int
    flags: int
    offset: int
    address: int
    file_bytes: int
    memory_bytes: int
    align: int


@dataclasses.dataclass(frozen=True)
class Section:
    """A section header."""

    name: str
    kind: int
    flags: int
    offset: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Symbol:
    """A name of the dynamic symbol table."""

    name: str
    defined: bool
    weak: bool


@dataclasses.dataclass(frozen=True)
class Elf:
    """What a loader would learn of a file."""

    bits: int
    machine: str
    kind: int
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    needed: tuple[str, ...] = ()
    soname: str | None = None
    run_paths: tuple[str, ...] = ()
    text_relocations: bool = False
    symbols: tuple[Symbol, ...] = ()
    versions: tuple[str, ...] = ()
    """What it needs of other libraries, as `GLIBC_2.34`."""
    api: int | None = None
    """The API level of Android that it was built for (`.note.android.ident`)."""

    @property
    def is_wide(self) -> bool:
        """Whether its addresses have 64 bits."""
        return self.bits == 64  # noqa: PLR2004

    @property
    def loads(self) -> tuple[Segment, ...]:
        """The segments that a loader maps."""
        return tuple(each for each in self.segments if each.kind == PT_LOAD)

    @property
    def executable_stack(self) -> bool | None:
        """Whether it asks for an executable stack; None: it does not say."""
        said = [each.flags for each in self.segments if each.kind == PT_GNU_STACK]
        return bool(said[0] & PF_X) if said else None

    @property
    def loaded_bytes(self) -> int:
        """Bytes of sections that take room in a program: code, constants and variables."""
        return sum(each.bytes for each in self.sections if each.flags & SHF_ALLOC)


def read_elf(data: bytes) -> Elf:
    """Read a file that begins with the magic of ELF; raise DamagedError where it cannot be read."""
    try:
        return _Reader(data).read()
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise DamagedError(str(error)) from error


def archive_members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the members of a static library by name; its index and name table are left out.

    Both ways to write long names: `/123` (GNU) and `#1/20` (BSD, Apple).
    """
    at, names = len(ARCHIVE_MAGIC), b""
    while at + 60 <= len(data):
        header = data[at : at + 60]
        if header[58:] != b"`\n":
            raise DamagedError(f"no archive member at byte {at}")
        if not header[48:58].strip().isdigit():
            raise DamagedError(f"an archive member at byte {at} has no size")
        count = int(header[48:58])
        name, body = header[:16].rstrip(), data[at + 60 : at + 60 + count]
        if len(body) < count:
            raise DamagedError(f"the archive ends in the member at byte {at}")
        at += 60 + count + count % 2
        if name == b"//":
            names = body
        elif name.startswith(b"#1/") and name[3:].isdigit():
            name, body = body[: int(name[3:])].rstrip(b"\0"), body[int(name[3:]) :]
            if not name.startswith(b"__.SYMDEF"):
                yield name.decode("utf-8", "replace"), body
        elif name.startswith(b"/") and name[1:].isdigit():
            yield names[int(name[1:]) :].partition(b"/")[0].decode("utf-8", "replace"), body
        elif name not in (b"/", b"/SYM64/") and not name.startswith(b"__.SYMDEF"):
            yield name.rstrip(b"/").decode("utf-8", "replace"), body


Place = Callable[[int], int]
"""Where in the file the byte of an address lies."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        if data[:4] != MAGIC or data[4] not in (1, 2) or data[5] not in (1, 2):
            raise DamagedError("it does not begin as ELF does")
        self.wide = data[4] == CLASS_64
        self.order = "<" if data[5] == 1 else ">"

    def read(self) -> Elf:
        kind, machine = self.unpack("HH", 16)
        header = self.unpack("QQQIHHHHHH" if self.wide else "IIIIHHHHHH", 24)
        _, ph_at, sh_at, _, _, ph_bytes, ph_count, sh_bytes, sh_count, sh_names = header
        segments = tuple(self.segment(ph_at + i * ph_bytes) for i in range(ph_count))
        sections = self.sections(sh_at, sh_bytes, sh_count, sh_names)
        elf = Elf(
            bits=64 if self.wide else 32,
            machine=MACHINES.get(machine, f"machine {machine}"),
            kind=kind,
            segments=segments,
            sections=sections,
            api=self.api(sections),
        )
        dynamic = self.dynamic(segments)
        return dataclasses.replace(elf, **self.of_dynamic(dynamic, segments)) if dynamic else elf

    def unpack(self, form: str, at: int) -> tuple[int, ...]:
        if at < 0:
            raise DamagedError(f"something lies at byte {at}")
        return struct.unpack_from(self.order + form, self.data, at)

    def segment(self, at: int) -> Segment:
        if self.wide:
            kind, flags, offset, address, _, filed, memory, align = self.unpack("IIQQQQQQ", at)
        else:
            kind, offset, address, _, filed, memory, flags, align = self.unpack("IIIIIIII", at)
        return Segment(kind, flags, offset, address, filed, memory, align)

    def sections(self, at: int, size: int, count: int, names: int) -> tuple[Section, ...]:
        if at == 0:
            return ()
        form = "IIQQQQIIQQ" if self.wide else "IIIIIIIIII"
        headers = [self.unpack(form, at + i * size) for i in range(count)]
        table = headers[names][4] if names < len(headers) else None
        return tuple(
            Section(
                self.string(table + head[0]) if table else "", head[1], head[2], head[4], head[5]
            )
            for head in headers
        )

    def string(self, at: int) -> str:
        end = self.data.find(b"\0", at)
        if at > len(self.data) or end < 0:
            raise DamagedError(f"a name at byte {at} has no end")
        return self.data[at:end].decode("utf-8", "backslashreplace")

    def api(self, sections: tuple[Section, ...]) -> int | None:
        for each in sections:
            if each.name == ANDROID_NOTE and each.bytes >= 24:  # noqa: PLR2004
                name_bytes, _, _ = self.unpack("III", each.offset)
                return self.unpack("I", each.offset + 12 + name_bytes + -name_bytes % 4)[0]
        return None

    def dynamic(self, segments: tuple[Segment, ...]) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for segment in segments:
            if segment.kind != PT_DYNAMIC:
                continue
            step = 16 if self.wide else 8
            for at in range(segment.offset, segment.offset + segment.file_bytes, step):
                tag, value = self.unpack("QQ" if self.wide else "II", at)
                if tag == 0:
                    break
                found.append((tag, value))
        return found

    def of_dynamic(
        self, dynamic: list[tuple[int, int]], segments: tuple[Segment, ...]
    ) -> dict[str, Any]:
        tags = dict(dynamic)

        def place(address: int) -> int:
            for each in segments:
                if each.kind == PT_LOAD and 0 <= address - each.address < each.file_bytes:
                    return address - each.address + each.offset
            raise DamagedError(f"address {address:#x} is in no segment")

        strings = place(tags[DT_STRTAB]) if DT_STRTAB in tags else 0
        of = [(tag, strings + value) for tag, value in dynamic]
        run_paths = [self.string(at) for tag, at in of if tag in (DT_RPATH, DT_RUNPATH)]
        symbols: tuple[Symbol, ...] = ()
        if DT_SYMTAB in tags and strings:
            count = self.symbol_count(tags, place)
            symbols = self.symbols(place(tags[DT_SYMTAB]), count, strings)
        return {
            "needed": tuple(self.string(at) for tag, at in of if tag == DT_NEEDED),
            "soname": next((self.string(at) for tag, at in of if tag == DT_SONAME), None),
            "run_paths": tuple(one for path in run_paths for one in path.split(":")),
            "text_relocations": DT_TEXTREL in tags or bool(tags.get(DT_FLAGS, 0) & DF_TEXTREL),
            "symbols": symbols,
            "versions": self.versions(tags, place, strings),
        }

    def symbol_count(self, tags: dict[int, int], place: Place) -> int:
        if DT_HASH in tags:
            return self.unpack("II", place(tags[DT_HASH]))[1]
        if DT_GNU_HASH not in tags:
            return 0
        at = place(tags[DT_GNU_HASH])
        buckets, first, bloom, _ = self.unpack("IIII", at)
        starts = at + 16 + bloom * (8 if self.wide else 4)
        last = max(self.unpack(f"{buckets}I", starts), default=0)
        if last < first:
            return first  # it defines nothing
        chain = starts + 4 * buckets + 4 * (last - first)
        while not self.unpack("I", chain)[0] & 1:
            chain, last = chain + 4, last + 1
        return last + 1

    def symbols(self, at: int, count: int, strings: int) -> tuple[Symbol, ...]:
        found = []
        for i in range(1, count):
            if self.wide:
                name, info, _, section, _, _ = self.unpack("IBBHQQ", at + 24 * i)
            else:
                name, _, _, info, _, section = self.unpack("IIIBBH", at + 16 * i)
            if text := self.string(strings + name):
                found.append(Symbol(text, section != 0, info >> 4 == STB_WEAK))
        return tuple(found)

    def versions(self, tags: dict[int, int], place: Place, strings: int) -> tuple[str, ...]:
        if DT_VERNEED not in tags:
            return ()
        at, found = place(tags[DT_VERNEED]), []
        for _ in range(tags.get(DT_VERNEEDNUM, 0)):
            _, count, _, first, following = self.unpack("HHIII", at)
            inner = at + first
            for _ in range(count):
                _, _, _, name, step = self.unpack("IHHII", inner)
                found.append(self.string(strings + name))
                inner += step
                if step == 0:
                    break
            at += following
            if following == 0:
                break
        return tuple(found)
