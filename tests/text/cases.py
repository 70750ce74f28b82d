"""Cases for check_cases.c, and what it prints of them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

AS_TOLD = 0xFFFFFFFF
MOST_PRINTED = 64
TOKENIZER, ENCODE, STREAM, CHAT, MESSAGES = 1, 2, 3, 4, 5
BARE, PLAIN = 1, 2
SHOW_CONTROL, CONTINUES = 1, 2
SYSTEM, USER, ASSISTANT, START = 0, 1, 2, 3


def words(*numbers: int) -> bytes:
    """Return u32 after u32."""
    return struct.pack(f"<{len(numbers)}I", *numbers)


def case(operation: int, payload: bytes) -> bytes:
    """Return one case of the file."""
    return words(operation, len(payload)) + payload + bytes(-len(payload) % 8)


def tokenizer(section: bytes, vocabulary: int) -> bytes:
    """Use these tables from here on."""
    return case(TOKENIZER, words(vocabulary) + section)


def encode(
    text: bytes,
    flags: int = 0,
    plain: Sequence[tuple[int, int]] = (),
    room: int = AS_TOLD,
) -> bytes:
    """Encode a text."""
    head = words(flags, len(plain), len(text), room)
    return case(ENCODE, head + b"".join(words(*each) for each in plain) + text)


def stream(tokens: Sequence[int], flags: int = 0, stops: Sequence[bytes] = ()) -> bytes:
    """Push tokens."""
    head = words(flags, len(stops), len(tokens), *map(len, stops))
    return case(STREAM, head + struct.pack(f"<{len(tokens)}i", *tokens) + b"".join(stops))


def chat(section: bytes) -> bytes:
    """Use this template from here on."""
    return case(CHAT, section)


def messages(
    said: Sequence[tuple[int, bytes]], after: int = START, *, generate: bool = True
) -> bytes:
    """Join messages."""
    roles = (number for role, content in said for number in (role, len(content)))
    head = words(after, generate, len(said), *roles)
    return case(MESSAGES, head + b"".join(content for _, content in said))


def encoded(tokens: Sequence[int], status: int = 0) -> str:
    """Return what is printed of tokens."""
    return " ".join(["encode", str(status), str(len(tokens)), *shown(tokens)])


def shown(tokens: Sequence[int]) -> list[str]:
    """Return tokens, or of many the digest."""
    if len(tokens) <= MOST_PRINTED:
        return list(map(str, tokens))
    packed = struct.pack(f"<{len(tokens)}i", *tokens)
    return [hashlib.sha256(packed).hexdigest()[:32]]


def streamed(pieces: Sequence[bytes], rest: bytes = b"", *, stopped: bool = False) -> str:
    """Return what is printed of a stream: what each token gave, then the end."""
    given = [piece.hex() or "-" for piece in pieces]
    return " ".join(["stream 0", *given, "stopped" if stopped else "ended", rest.hex() or "-"])


def joined(text: bytes, plain: Sequence[tuple[int, int]] = ()) -> str:
    """Return what is printed of a conversation."""
    ranges = [f"{start}-{end}" for start, end in plain]
    return " ".join(["text 0", str(len(text)), text.hex() or "-", *ranges])
