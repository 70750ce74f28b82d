"""A .bitx file that the C runtime on this machine has opened."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bitexport.emit.text_rules import REBUILD, damage
from bitexport.errors import BundleError, TextError
from bitexport.runtime import library as c
from bitexport.runtime.session import HostSession, Sampler

BARE, PLAIN = 1, 2
START = 3
ROLES = {"system": 0, "user": 1, "assistant": 2}

Role = Literal["system", "user", "assistant"]
SOUND = "`bitexport verify` says whether bundle and runtime are sound"
NOT_UTF8 = "text that bitexport reads is UTF-8: convert it first"


class Message(NamedTuple):
    """What somebody says."""

    role: Role
    content: str


def require_roles(messages: Sequence[Message]) -> None:
    """Refuse roles that nobody has."""
    for message in messages:
        if message.role not in ROLES:
            raise TextError(
                f"there is no role `{message.role}`", hint=f"roles are {', '.join(ROLES)}"
            )


def require_tokenizer(data: Path, *, has_tokenizer: bool) -> None:
    """Refuse text for a model that understands only numbers."""
    if not has_tokenizer:
        raise BundleError(
            f"{data}: holds no tokenizer, so the model understands no text, only numbers of tokens",
            hint="give --ids 1,2,3 where there is such an option; or put the model's "
            "tokenizer.json beside the checkpoint and build the bundle again",
        )


def require_chat(data: Path, *, has_chat: bool) -> None:
    """Refuse a conversation with a model that knows no form of one."""
    if not has_chat:
        raise BundleError(
            f"{data}: holds no chat template",
            hint="give a plain prompt; or build with --chat-template FILE",
        )


class HostModel:
    """A model: its tokenizer and chat template; sessions are made of it."""

    _map: c.Map | None = None

    def __init__(self, library: Path, data: Path) -> None:
        self.library = c.load_library(library)
        self.data = data
        mapped = c.Map()
        if failure := self.library.bitx_map_open(ctypes.byref(mapped), os.fsencode(data)):
            raise BundleError(
                f"{data}: cannot be mapped: {os.strerror(failure)}",
                hint="build the bundle again, or copy it again",
            )
        self._map = mapped
        self.model = c.Model()
        here = ctypes.byref(self.model)
        status = self.library.bitx_model_open(here, mapped.blob, mapped.bytes)
        if status != c.OK:
            raise BundleError(
                f"{data}: {self.name(status)}: rule {self.model.rule} of FORMAT.md, "
                f"record {self.model.record}",
                hint="build the bundle again with this version of bitexport",
            )
        status = self.library.bitx_model_check_text(here)
        if status != c.OK:
            said = damage(self.model.rule, self.model.record) or self.name(status)
            raise BundleError(f"{data}: {said}", hint=REBUILD)
        facts: c.Facts = self.library.bitx_model_facts(here)
        self.vocabulary, self.context = int(facts.vocabulary), int(facts.context)

    def __del__(self) -> None:
        if self._map is not None:
            self.library.bitx_map_close(ctypes.byref(self._map))

    # ---- text ----------------------------------------------------------------------------------

    @property
    def has_tokenizer(self) -> bool:
        """Whether the bundle turns text to tokens."""
        return bool(self.model.tokenizer.records)

    @property
    def has_chat(self) -> bool:
        """Whether the bundle knows the form of a conversation."""
        return bool(self.model.chat.records)

    def encode(
        self,
        text: str | bytes,
        *,
        bare: bool = False,
        special: bool = True,
        plain: Sequence[tuple[int, int]] = (),
    ) -> list[int]:
        """Return the tokens of a text.

        `bare` leaves out prefix and suffix tokens; without `special` no control token is recognised
        in the text; neither is one in a range of `plain`, (start, end) in bytes of UTF-8.
        """
        require_tokenizer(self.data, has_tokenizer=self.has_tokenizer)
        raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        room, work_bytes, count = ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_size_t()
        model = ctypes.byref(self.model)
        self.require(
            self.library.bitx_encode_room(
                ctypes.byref(room), ctypes.byref(work_bytes), model, len(raw)
            )
        )
        tokens = (ctypes.c_int32 * room.value)()
        work = c.Block(work_bytes.value)
        ranges = (c.Range * len(plain))(*itertools.starmap(c.Range, plain))
        given = c.Text(raw, len(raw), ctypes.addressof(ranges), len(plain))
        status = self.library.bitx_encode(
            tokens, room.value, ctypes.byref(count), model, ctypes.byref(given),
            BARE * bare | PLAIN * (not special), work.address, work.size,
        )  # fmt: skip
        if status == c.TEXT:
            raise TextError(
                f"byte {count.value} of the text is not UTF-8",
                hint=NOT_UTF8,
            )
        self.require(status)
        return tokens[: count.value]

    def decode(self, tokens: Sequence[int], *, show_control: bool = False) -> str:
        """Return the whole text of some tokens."""
        require_tokenizer(self.data, has_tokenizer=self.has_tokenizer)
        stream = c.Stream()
        config = c.StreamConfig(show_control=show_control)
        place, size, stopped = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_int()
        here = (ctypes.byref(place), ctypes.byref(size))
        self.require(
            self.library.bitx_stream_open(
                ctypes.byref(stream), ctypes.byref(self.model), ctypes.byref(config)
            )
        )
        text = bytearray()
        for token in tokens:
            self.require(
                self.library.bitx_stream_push(
                    ctypes.byref(stream), token, *here, ctypes.byref(stopped)
                ),
                f" (token {token})",
            )
            text += ctypes.string_at(place, size.value)
        self.require(self.library.bitx_stream_finish(ctypes.byref(stream), *here))
        text += ctypes.string_at(place, size.value)
        return text.decode()

    def chat_tokens(
        self, messages: Sequence[Message], *, after: Role | None = None, generate: bool = True
    ) -> list[int]:
        """Return the tokens of a conversation, or of what follows a message with role `after`."""
        require_chat(self.data, has_chat=self.has_chat)
        require_roles(messages)
        contents = [message.content.encode("utf-8", "surrogatepass") for message in messages]
        said = (c.Message * len(messages))(
            *(
                c.Message(ROLES[m.role], raw, len(raw))
                for m, raw in zip(messages, contents, strict=True)
            )
        )
        size, ranges = ctypes.c_size_t(), ctypes.c_size_t()
        room, plain = b"", (c.Range * len(messages))()
        before = START if after is None else ROLES[after]
        while True:
            buffer = ctypes.create_string_buffer(room, max(1, len(room)))
            status = self.library.bitx_chat_text(
                buffer, len(room), ctypes.byref(size), plain, len(messages), ctypes.byref(ranges),
                ctypes.byref(self.model), said, len(messages), before, int(generate),
            )  # fmt: skip
            if status != c.ROOM:
                break
            room = bytes(size.value)
        self._refuse_roles(status, size.value, messages)
        chat = c.Chat()
        self.require(self.library.bitx_chat_of_model(ctypes.byref(chat), ctypes.byref(self.model)))
        return self.encode(
            buffer.raw[: size.value],
            bare=after is not None or bool(chat.encode_flags & BARE),
            plain=[(r.start, r.end) for r in plain[: ranges.value]],
        )

    def _refuse_roles(self, status: int, index: int, messages: Sequence[Message]) -> None:
        if status == c.ROLE:
            row = ", ".join(message.role for message in messages)
            raise TextError(
                f"the model's chat template has no form for these roles: {row}",
                hint="a system message comes first if at all, then user and assistant in turns",
            )
        if status == c.TEXT:
            raise TextError(
                f"message {index + 1} is not UTF-8",
                hint=NOT_UTF8,
            )
        self.require(status)

    # ---- answers -------------------------------------------------------------------------------

    def sampler(self, **changes: Any) -> Sampler:
        """Return how the model's own generation_config.json chooses tokens, with some changes.

        A model without one chooses greedily.
        """
        asked = c.Sampler()
        self.require(
            self.library.bitx_sampler_of_model(ctypes.byref(asked), ctypes.byref(self.model))
        )
        own = Sampler(
            temperature=asked.temperature, top_k=asked.top_k, top_p=asked.top_p,
            min_p=asked.min_p, repetition=asked.repetition, presence=asked.presence,
            frequency=asked.frequency,
        )  # fmt: skip
        return dataclasses.replace(own, **changes)

    def session(
        self, *, context: int | None = None, chunk: int = 16, threads: int = 1, draft: int = 0
    ) -> HostSession:
        """Return a session for sequences of at most `context` tokens, at position 0."""
        return HostSession(self, context or self.context, chunk, threads, draft)

    def require(self, status: int, where: str = "") -> None:
        """Raise what a status that is not OK means here."""
        if status != c.OK:
            raise BundleError(f"{self.data}: {self.name(status)}{where}", hint=SOUND)

    def name(self, status: int) -> str:
        """Return what a status is called."""
        return c.status_name(self.library, status)
