"""Writes section 10 of a .bitx file (targets/FORMAT.md, 3.10): the segments of conversations."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence

from bitexport.errors import CheckpointError
from bitexport.tokenizer.chat_template import ASSISTANT, GENERATE, ROLES, START, STOP, USER, Chat
from bitexport.tokenizer.description import Description

NONE = 0xFFFFFFFF
MOST_STOP_TOKENS = 8
BEFORE = (START, *ROLES)


def chat_section(chat: Chat, stop_tokens: Sequence[int]) -> bytes:
    """Return the section.  Templates write the begin token themselves, so none is added."""
    if len(stop_tokens) > MOST_STOP_TOKENS:
        raise CheckpointError(
            f"an answer may end with {len(stop_tokens)} tokens, {MOST_STOP_TOKENS} are kept",
            hint="name fewer as `eos_token_id` in generation_config.json",
        )
    body = b""
    places: dict[bytes, int] = {}
    strings: list[int] = []
    for pair in itertools.product(BEFORE, (*ROLES, GENERATE, STOP)):
        if pair not in chat.segments:
            strings += [0, NONE]
            continue
        text = chat.segments[pair].encode()
        if text not in places:
            places[text] = len(body)
            body += text
        strings += [places[text], len(text)]
    strips = [
        sum(int(chat.strips.get((before, role), 0)) << 2 * at for at, before in enumerate(BEFORE))
        for role in ROLES
    ]
    stops = [*stop_tokens, *[NONE] * (MOST_STOP_TOKENS - len(stop_tokens))]
    header = (0, *strips, len(stop_tokens), 0, 0, 0)
    return struct.pack("<8I40I8I", *header, *strings, *stops) + body


def stop_tokens_of(chat: Chat, description: Description) -> tuple[int, ...]:
    """Return the control token that the template writes behind an answer, if it does."""
    behind = chat.segments[ASSISTANT, USER].lstrip()
    controls = [added for added in description.added if added.control]
    fitting = [added for added in controls if behind.startswith(added.content)]
    longest = max(fitting, key=lambda added: len(added.content), default=None)
    return () if longest is None else (longest.token,)
