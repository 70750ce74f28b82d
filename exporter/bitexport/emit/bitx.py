"""Write a .bitx file (targets/FORMAT.md): records first, then the weights block by block."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from bitexport.emit.arithmetic import Contents
from bitexport.emit.records import (
    Strings,
    pack_facts,
    pack_operands,
    pack_ops,
    pack_tensors,
    pack_values,
)  # fmt: skip
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.stored import StoredMatrix
from bitexport.passes.plan import Plan, aligned

MAGIC = b"BITX\r\n\x1a\n"
FORMAT_VERSION = 1
MINIMUM_RUNTIME = 1
HEADER_BYTES = 64
SECTION_BYTES = 64
FACTS, STRINGS, TENSORS, VALUES, OPS, OPERANDS, DATA = 1, 2, 4, 5, 6, 7, 8
TOKENIZER, CHAT, GENERATION, SELF_TEST, PROVENANCE, ARITHMETIC = 9, 10, 11, 12, 13, 14
RECORD_BYTES = {FACTS: 96, TENSORS: 64, VALUES: 48, OPS: 40, OPERANDS: 8, GENERATION: 64}

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class _Section:
    number: int
    offset: int
    size: int
    digest: bytes


class BitxWriter:
    """A file being written.  The header comes last, so a half-written file is no .bitx file."""

    def __init__(self, path: Path, section_count: int) -> None:
        self.path = path
        self._count = section_count
        self._sections: list[_Section] = []
        self._end = HEADER_BYTES + SECTION_BYTES * section_count
        self.arithmetic = b""
        """The section of that name, of the model that was added."""
        path.write_bytes(bytes(self._end))

    def add_model(
        self, plan: Plan, tensors: Mapping[str, StoredMatrix], facts: Facts,
        progress: Progress = lambda done, total: None,
    ) -> dict[str, int]:  # fmt: skip
        """Write sections 1 to 8 and return the offset of every tensor in the file."""
        strings = Strings()
        values, operands = pack_values(plan, strings), pack_operands(plan)
        about, ops = pack_facts(facts, plan, strings), pack_ops(plan)
        pack_tensors(plan, tensors, dict.fromkeys(tensors, 0), strings)  # places the names
        sizes = (len(about), len(strings.data), len(tensors) * RECORD_BYTES[TENSORS],
                 len(values), len(ops), len(operands))  # fmt: skip
        start = self._end
        for size in sizes:
            start = aligned(start) + size
        offsets, end = {}, start
        for name in plan.tensors:
            offsets[name] = aligned(end)
            end = offsets[name] + tensors[name].nbytes
        records = pack_tensors(plan, tensors, offsets, strings)
        self.add(FACTS, about)
        self.add(STRINGS, bytes(strings.data))
        self.add(TENSORS, records)
        self.add(VALUES, values)
        self.add(OPS, ops)
        self.add(OPERANDS, operands)
        contents = self._add_data(plan, tensors, offsets, progress)
        self.arithmetic = contents.identity(plan, tensors, facts)
        return offsets

    def add(self, number: int, data: bytes) -> None:
        """Append a section."""
        with self.path.open("r+b") as file:
            file.seek(self._end)
            file.write(bytes(aligned(self._end) - self._end) + data)
        digest = hashlib.sha256(data).digest()
        self._close(number, aligned(self._end), len(data), digest)

    def finish(self) -> None:
        """Write header and section table; from here on the file is valid."""
        assert len(self._sections) == self._count, "every promised section is written"
        table = b"".join(
            struct.pack(
                "<I4xQQQ32s", s.number, s.offset, s.size,
                s.size // RECORD_BYTES.get(s.number, 1), s.digest,
            )
            for s in self._sections
        )  # fmt: skip
        head = struct.pack(
            "<8sIIQII", MAGIC, FORMAT_VERSION, MINIMUM_RUNTIME, self._end, self._count, HEADER_BYTES
        )
        with self.path.open("r+b") as file:
            file.write(head + hashlib.sha256(head + table).digest() + table)

    def _add_data(
        self, plan: Plan, tensors: Mapping[str, StoredMatrix], offsets: Mapping[str, int],
        progress: Progress,
    ) -> Contents:  # fmt: skip
        contents = Contents(plan)
        start = aligned(self._end)
        total = sum(tensors[name].nbytes for name in plan.tensors)
        sha, at, done = hashlib.sha256(), start, 0
        with self.path.open("r+b") as file:
            file.seek(self._end)
            file.write(bytes(start - self._end))
            for name in plan.tensors:
                at = _write(file, sha, bytes(offsets[name] - at), at)
                contents.begin(name)
                for rows, chunk in tensors[name].blocks():
                    contents.add(rows)
                    at = _write(file, sha, chunk, at)
                    done += len(chunk)
                    progress(done, total)
                contents.end()
                assert at == offsets[name] + tensors[name].nbytes, name
        self._close(DATA, start, at - start, sha.digest())
        return contents

    def _close(self, number: int, offset: int, size: int, digest: bytes) -> None:
        self._sections.append(_Section(number, offset, size, digest))
        self._end = offset + size


def _write(file: BinaryIO, sha: hashlib._Hash, data: bytes, at: int) -> int:
    file.write(data)
    sha.update(data)
    return at + len(data)
