"""From a conversation to text (TEXT.md, section 4; FORMAT.md, section 3.10)."""

from __future__ import annotations

import dataclasses
import enum
import itertools
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bitexport_ref.bitx_records import NONE, require
from bitexport_ref.errors import BadRole

RULE = 27
MOST_STOP_TOKENS = 8
START, GENERATE, STOP = "start", "generate", "stop"
LEFT, RIGHT, MOST_STRIP = 1, 2, 0xFF
_HEADER = struct.Struct("<8I")
_SEGMENTS = struct.Struct("<40I")
_STOPS = struct.Struct("<8I")


class Role(enum.StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class Message(NamedTuple):
    """What somebody says."""

    role: Role
    content: str


class ChatText(NamedTuple):
    """A conversation as the model reads it; `plain`: (start, end) in bytes of each content."""

    text: str
    plain: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class ChatTemplate:
    """Segments by what came before (start or a role) and what follows (a role, generate, stop)."""

    segments: Mapping[tuple[str, str], str]
    strips: Mapping[tuple[str, str], int]
    """Which ends of a content are stripped behind what came before: 1 left, 2 right."""
    adds_prefix_tokens: bool
    stop_tokens: tuple[int, ...]

    def join(
        self,
        messages: Sequence[Message],
        *,
        generate: bool = True,
        after: Role | None = None,
    ) -> ChatText:
        """Return the text of a conversation, or of what comes after a message with role `after`.

        A row of roles without form is a `BadRole`.
        """
        parts: list[str] = []
        plain: list[tuple[int, int]] = []
        last: str = after or START
        at = 0

        def say(text: str) -> int:
            parts.append(text)
            return len(text.encode())

        for message in messages:
            at += say(self._segment(last, message.role))
            size = say(_stripped(message.content, self.strips.get((last, message.role), 0)))
            if size:
                plain.append((at, at + size))
            at += size
            last = message.role
        say(self._segment(last, GENERATE if generate else STOP))
        return ChatText("".join(parts), tuple(plain))

    def _segment(self, before: str, behind: str) -> str:
        segment = self.segments.get((before, behind))
        if segment is None:
            message = f"the model's chat template has no form for `{behind}` after `{before}`"
            raise BadRole(message)
        return segment


def read_chat(section: bytes, vocabulary: int) -> ChatTemplate:
    """Read and check section 10 (R27)."""
    head = _HEADER.size + _SEGMENTS.size + _STOPS.size
    require(RULE, len(section) >= head, f"chat template: {len(section)} bytes")
    flags, *strips, stop_count, r0, r1, r2 = _HEADER.unpack_from(section)
    require(RULE, not (r0 or r1 or r2), "chat template: a reserved field is not 0")
    require(RULE, flags <= 1 and max(strips) <= MOST_STRIP, "chat template: an unknown flag")
    stops = _STOPS.unpack_from(section, _HEADER.size + _SEGMENTS.size)
    require(RULE, stop_count <= MOST_STOP_TOKENS, f"chat template: {stop_count} stop tokens")
    counted, unused = stops[:stop_count], stops[stop_count:]
    sound = all(t < vocabulary for t in counted) and all(t == NONE for t in unused)
    require(RULE, sound, f"chat template: stop tokens {stops}")
    body = section[head:]
    numbers = _SEGMENTS.unpack_from(section, _HEADER.size)
    places = list(zip(numbers[::2], numbers[1::2], strict=True))
    segments: dict[tuple[str, str], str] = {}
    end = 0
    names = itertools.product((START, *Role), (*Role, GENERATE, STOP))
    for pair, (offset, size) in zip(names, places, strict=True):
        if size == NONE:
            continue
        require(RULE, offset + size <= len(body), "chat template: a segment outside its bytes")
        end = max(end, offset + size)
        try:
            segments[pair] = body[offset : offset + size].decode()
        except UnicodeDecodeError:
            require(RULE, False, f"chat template: the segment {pair} is not UTF-8")
    require(RULE, end == len(body), f"chat template: {len(body) - end} bytes belong to no segment")
    ends: dict[tuple[str, str], int] = {
        (before, role): strip >> 2 * at & (LEFT | RIGHT)
        for role, strip in zip(Role, strips, strict=True)
        for at, before in enumerate((START, *Role))
    }
    return ChatTemplate(segments, ends, bool(flags & 1), counted)


def _stripped(content: str, ends: int) -> str:
    left = content.lstrip() if ends & LEFT else content
    return left.rstrip() if ends & RIGHT else left
