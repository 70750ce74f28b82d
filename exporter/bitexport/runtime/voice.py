"""Who answers: the library on this machine, or an emulated core.  One conversation each."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeGuard

import numpy as np

from bitexport.emit.manifest import Bundle
from bitexport.errors import TextError
from bitexport.runtime.emulated import EmulatedModel, emulated_model
from bitexport.runtime.library import TRUNCATED
from bitexport.runtime.model import HostModel, Message, require_chat, require_tokenizer
from bitexport.runtime.opened import host_library
from bitexport.runtime.session import Answer, Chosen, Ended, Event, Prefill, refused_session
from bitexport.runtime.transcript import Transcript
from bitexport.targets import Target
from bitexport_ref.arithmetic import stored_arithmetic
from bitexport_ref.bitx import CHAT, TOKENIZER, open_bitx
from bitexport_ref.sampler import kept_by_shift

Turn = str | Sequence[int] | Sequence[Message]


class Voice(abc.ABC):
    """Takes turns, and keeps what statistics and transcripts need."""

    place: str
    context: int

    def __init__(self, sampler: Mapping[str, float]) -> None:
        self.options = {name: _as_f32(value) for name, value in sampler.items()}
        self.given: list[int] = []
        """The tokens before the last answer."""
        self.chosen: list[int] = []
        """Those of the last answer, one that ended it too."""
        self.ended: Ended | None = None
        self._read = self._made = 0
        self._reading = self._making = 0.0

    @property
    def made(self) -> int:
        """Tokens of the last answer."""
        return len(self.chosen)

    def say(self, turn: Turn, answer: Answer) -> Iterator[Event]:
        """Give the events of an answer to one more turn."""
        events = self._answer(turn, answer)
        return self._watched(events)

    def _watched(self, events: Iterator[Event]) -> Iterator[Event]:
        self.chosen, self.ended = [], None
        start = time.monotonic()
        for event in events:
            now = time.monotonic()
            match event:
                case Prefill():
                    self._reading += now - start
                case Chosen(token, _):
                    self.chosen.append(token)
                    self._made += 1
                    self._making += now - start
                case Ended(_, token, _, _):
                    self.ended = event
                    if token is not None:
                        self.chosen.append(token)
            start = now
            yield event

    def statistics(self) -> str:
        """Say how fast it was, and what memory it took."""
        speeds = []
        if self._reading > 0 and self._read:
            speeds.append(f"read {self._read} tokens, {self._read / self._reading:.1f} a second")
        if self._making > 0 and self._made:
            speeds.append(f"made {self._made} tokens, {self._made / self._making:.1f} a second")
        return "; ".join([*speeds, f"{self.memory_bytes} bytes of memory besides the model"])

    def transcript(self, bundle: Bundle) -> Transcript:
        """Return what the last answer was chosen from and how."""
        if not self.given or not self.chosen:
            raise TextError(
                "no token was chosen: there is nothing to record", hint="ask for an answer first"
            )
        if len(self.given) + len(self.chosen) > self.context + 1:
            raise TextError(
                "the last answer shifted its context: what its later tokens follow is no longer "
                "what was given",
                hint="record an answer that fits the context: fewer --tokens",
            )
        arithmetic = stored_arithmetic(open_bitx(bundle.data))
        assert arithmetic is not None, "build writes it"
        return Transcript(arithmetic.hex(), tuple(self.given), tuple(self.chosen), self.sampling())

    @property
    @abc.abstractmethod
    def memory_bytes(self) -> int:
        """Memory of session and generator."""

    @abc.abstractmethod
    def sampling(self) -> dict[str, float]:
        """Return how tokens are chosen, every number of it."""

    @abc.abstractmethod
    def shown(self) -> str:
        """Return the text of the tokens before the last answer."""

    @abc.abstractmethod
    def cancel(self) -> None:
        """End the answer within one token; its last event comes all the same."""

    @abc.abstractmethod
    def save(self) -> bytes:
        """Return the session as a file."""

    @abc.abstractmethod
    def restore(self, saved: bytes) -> None:
        """Continue a saved session."""

    @abc.abstractmethod
    def _answer(self, turn: Turn, answer: Answer) -> Iterator[Event]: ...


class NativeVoice(Voice):
    """The library on this machine; a conversation goes on where the last answer ended."""

    place = "native"

    def __init__(
        self, model: HostModel, sampler: Mapping[str, float], threads: int, draft: int
    ) -> None:
        super().__init__(sampler)
        self.context = model.context
        self._model = model
        self._session = model.session(threads=threads, draft=draft)
        self._sampler = model.sampler(**self.options)
        self._in_chat = False

    @property
    def memory_bytes(self) -> int:
        """Memory of session and generator."""
        return self._session.memory_bytes

    def sampling(self) -> dict[str, float]:
        """Return how tokens are chosen."""
        fields = dataclasses.asdict(self._sampler)
        return {name: fields[name] for name in fields if name not in ("bias", "mask")}

    def shown(self) -> str:
        """Return the text of the tokens before the last answer."""
        if not self._model.has_tokenizer:
            return ""
        return self._model.decode(self.given)

    def cancel(self) -> None:
        """End the answer."""
        self._session.cancel()

    def save(self) -> bytes:
        """Return the session as a file has it."""
        return self._session.save()

    def restore(self, saved: bytes) -> None:
        """Continue a saved session."""
        self._session.restore(saved)
        self._in_chat = bool(self._session.tokens)

    def _answer(self, turn: Turn, answer: Answer) -> Iterator[Event]:
        tokens = self._tokens(turn)
        if answer.keep is not None and len(tokens) <= self.context:
            while answer.keep < len(self._session.tokens) > self.context - len(tokens):
                self._session.shift(answer.keep)
        self._session.give(tokens)
        self.given = self._session.tokens
        self._read += len(tokens)
        is_chat = _is_chat(turn)
        events = self._session.answer(
            self._sampler, dataclasses.replace(answer, continues=not is_chat)
        )
        self._in_chat = True
        return events if self._model.has_tokenizer else map(_numbered, events)

    def _tokens(self, turn: Turn) -> list[int]:
        if isinstance(turn, str):
            return self._model.encode(turn, bare=self._in_chat)
        if _is_chat(turn):
            return self._model.chat_tokens(turn, after="assistant" if self._in_chat else None)
        return [token for token in turn if isinstance(token, int)]


class EmulatedVoice(Voice):
    """A core under its emulator; every answer reads the conversation from its first token on."""

    def __init__(
        self, model: EmulatedModel, bundle: Bundle, sampler: Mapping[str, float], threads: int
    ) -> None:
        super().__init__(sampler)
        self.place, self.context = model.core, int(bundle.manifest["model"]["context"])
        self._model = model
        self._bundle = bundle
        self._sections = {section.id for section in open_bitx(bundle.data).sections}
        self._words = ["--threads", str(threads)] if threads > 1 else []
        self._tokens: list[int] = []
        folder = model.program.parent
        self._resumed, self._saved = folder / "resumed", folder / "saved"
        self._is_saved = False

    @property
    def memory_bytes(self) -> int:
        """Memory of session and generator."""
        return self._model.memory_bytes

    def sampling(self) -> dict[str, float]:
        """Return how tokens are chosen."""
        return self._model.sampler

    def shown(self) -> str:
        """Return the text of the tokens before the last answer."""
        return self._model.shown if self._has_tokenizer else ""

    @property
    def _has_tokenizer(self) -> bool:
        return TOKENIZER in self._sections

    def cancel(self) -> None:
        """End the answer."""
        self._model.cancel()

    def save(self) -> bytes:
        """Return the session as a file has it.

        That of an answer that was cancelled is not there: its tokens are to be read again.
        """
        if not self._is_saved:
            if self._resumed.is_file():  # and nothing was said since
                return self._resumed.read_bytes()
            if not self._tokens:
                raise TextError(
                    "nothing was said: there is no session to save", hint="ask for an answer first"
                )
            self._model.keep(self._tokens, self._saved)
            self._is_saved = True
        return self._saved.read_bytes()

    def restore(self, saved: bytes) -> None:
        """Continue a saved session, with the next answer."""
        if not saved:  # no machine maps an empty file
            raise refused_session(TRUNCATED, "")
        self._resumed.write_bytes(saved)

    def _answer(self, turn: Turn, answer: Answer) -> Iterator[Event]:
        if isinstance(turn, str):
            require_tokenizer(self._bundle.data, has_tokenizer=self._has_tokenizer)
        if _is_chat(turn):
            require_chat(self._bundle.data, has_chat=CHAT in self._sections)
        self._is_saved = False
        self._saved.unlink(missing_ok=True)
        words = [*self._words, "--save", str(self._saved)]
        if self._resumed.is_file():
            words += ["--resume", str(self._resumed)]
        events = self._model.answer(
            turn, self.options, dataclasses.replace(answer, continues=not _is_chat(turn)),
            behind=self._tokens, words=words,
        )  # fmt: skip
        tokens: list[int] | None = None
        try:
            for event in events:
                if tokens is None:
                    self.given = list(self._model.given)
                    self._read += len(self.given) - (self._model.restored or 0)
                    tokens = list(self.given)
                    self._resumed.unlink(missing_ok=True)
                if isinstance(event, Chosen):
                    if len(tokens) > self.context:  # only with `keep` does it go on
                        tokens = kept_by_shift(tokens, answer.keep or 0)
                    tokens.append(event.token)
                yield event if self._has_tokenizer else _numbered(event)
            self._is_saved = self._saved.is_file()
        finally:  # a caller may drop the answer, or it breaks off
            self._tokens = tokens or self._tokens


@contextlib.contextmanager
def native_voice(
    bundle: Bundle, sampler: Mapping[str, float], threads: int, draft: int
) -> Iterator[NativeVoice]:
    """Give the voice of a bundle on this machine."""
    with host_library(bundle) as library:
        yield NativeVoice(HostModel(library, bundle.data), sampler, threads, draft)


@contextlib.contextmanager
def emulated_voice(
    bundle: Bundle, target: Target, core: str, sampler: Mapping[str, float], threads: int
) -> Iterator[EmulatedVoice]:
    """Give the voice of a bundle on a core of its target."""
    with emulated_model(bundle, target, core) as model:
        yield EmulatedVoice(model, bundle, sampler, threads)


def _is_chat(turn: Turn) -> TypeGuard[Sequence[Message]]:
    return not isinstance(turn, str) and bool(turn) and isinstance(turn[0], Message)


def _numbered(event: Event) -> Event:
    """Show a token as its number, where there is no text."""
    return event._replace(text=f"{event.token} ") if isinstance(event, Chosen) else event


def _as_f32(value: float) -> float:
    """Round to what the runtime holds; integers stay."""
    return value if isinstance(value, int) else float(np.float32(value))
