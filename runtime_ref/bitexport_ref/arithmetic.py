"""The identity of what a file computes (FORMAT.md, 3.12): read, and found again in its tensors."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import numpy as np

from bitexport_ref.bitx import ARITHMETIC, Bitx
from bitexport_ref.bitx_records import (
    NONE,
    UNSUPPORTED,
    Dtype,
    Layout,
    OpCode,
    OperandKind,
    Tensor,
    require,
)
from bitexport_ref.layouts import LAYOUTS, unpack

VERSION = 1
SECTION_BYTES = 36
TABLE_ROWS = 2
AT_ONCE = 1 << 22


def stored_arithmetic(bitx: Bitx) -> bytes | None:
    """Check R30; return the 32 bytes that the file says, or None when it says none."""
    section = bitx.section(ARITHMETIC)
    if section is None:
        return None
    require(30, section.size == SECTION_BYTES, f"{section.size} bytes, not {SECTION_BYTES}")
    body = bitx.blob[section.offset : section.end]
    (version,) = struct.unpack_from("<I", body)
    require(30, version == VERSION, f"version {version}", status=UNSUPPORTED)
    return body[4:]


def check_arithmetic(bitx: Bitx) -> None:
    """Check that the plan and the tensors are those of the identity that the file says."""
    said = stored_arithmetic(bitx)
    same = said is None or said == find_arithmetic(bitx)
    require(30, same, "the plan and the tensors compute something else", status="BITX_E_HASH")


def find_arithmetic(bitx: Bitx) -> bytes:
    """Return the SHA-256 of what the plan and its tensors compute.  Unpacks every tensor."""
    facts = bitx.facts
    values = [NONE if at is None else at for at in (facts.token_value, facts.logits_value)]
    counts = len(bitx.values), len(bitx.ops), len(bitx.tensors)
    sha = hashlib.sha256(_words(VERSION, facts.is_language_model, *values, *counts))
    for value in bitx.values:
        sha.update(_name(value.name))
        sha.update(_words(value.dtype, value.row_kind, value.rows, value.columns, value.role))
    for op in bitx.ops:
        sha.update(_words(op.code, len(op.inputs), len(op.outputs), *op.attributes))
        for operand in (*op.inputs, *op.outputs):
            sha.update(_words(operand.kind, operand.index))
    tables = _rope_tables(bitx)
    for index, tensor in enumerate(bitx.tensors):
        rows = TABLE_ROWS if index in tables else None
        dtype = tensor.dtype if tensor.layout == Layout.PLAIN else Dtype.S8
        shape = [*tensor.shape, *[0] * (4 - len(tensor.shape))]
        if rows is not None:
            shape[0] = 0
        sha.update(_name(tensor.name) + _words(dtype, len(tensor.shape), *shape))
        content = hashlib.sha256()
        for elements in _elements(bitx, tensor, rows):
            content.update(elements)
        sha.update(content.digest())
    return sha.digest()


def _rope_tables(bitx: Bitx) -> set[int]:
    """Return the tensors that have a row for every position."""
    return {
        operand.index
        for op in bitx.ops
        if op.code == OpCode.ROPE
        for operand in op.inputs
        if operand.kind == OperandKind.TENSOR
    }


def _elements(bitx: Bitx, tensor: Tensor, rows: int | None) -> Iterator[bytes]:
    """Yield the elements row by row, of the first `rows` rows: small integers as s8 each."""
    if tensor.layout == Layout.PLAIN:
        size = tensor.size
        if rows is not None:
            size = size // tensor.shape[0] * min(rows, tensor.shape[0])
        for start in range(0, size, AT_ONCE):
            stop = min(size, start + AT_ONCE)
            yield bitx.blob[tensor.offset + start : tensor.offset + stop]
        return
    layout, (n, k) = LAYOUTS[tensor.layout.name.lower()], tensor.shape
    step = max(1, AT_ONCE // (layout.band * k)) * layout.band
    for start in range(0, n, step):
        count = min(step, n - start)
        at = tensor.offset + start // layout.band * layout.band_bytes(k)
        raw = bitx.blob[at : at + layout.packed_bytes(count, k)]
        packed = np.frombuffer(raw, np.uint8)
        yield unpack(packed, layout, n=count, k=k).tobytes()


def _name(name: str) -> bytes:
    raw = name.encode("utf-8")
    return _words(len(raw)) + raw


def _words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)
