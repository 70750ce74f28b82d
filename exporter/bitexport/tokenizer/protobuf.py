"""Reads the wire format of protocol buffers: fields by number, and nothing about their meaning."""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10

Value = int | float | bytes


def fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Yield (number, value) of all fields: integers, f32, bytes; else a ValueError."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind, number = key & 7, key >> 3
        value: Value
        if kind == VARINT:
            value, at = _varint(message, at)
        elif kind == BYTES:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif kind == FIXED32:
            (value,) = struct.unpack_from("<f", message, at)
            at += 4
        elif kind == FIXED64:
            value, at = message[at : at + 8], at + 8
        else:
            raise ValueError(f"a field of kind {kind}")
        if at > len(message):
            raise ValueError("a field ends past the end")
        yield number, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for size in range(LONGEST_VARINT):
        if at + size >= len(message):
            break
        byte = message[at + size]
        value |= (byte & 0x7F) << 7 * size
        if byte < 0x80:  # noqa: PLR2004
            return value, at + size + 1
    raise ValueError("a number that does not end")
