"""Answers from the C runtime on this machine: read, choose, cancel, fork, save and restore."""

from __future__ import annotations

import ctypes
import dataclasses
import enum
import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bitexport.errors import BitexportError, BundleError, TextError
from bitexport.runtime import library as c

if TYPE_CHECKING:
    from bitexport.runtime.model import HostModel

THREAD_POOL_BYTES = 4096  # bitx_threads is smaller
MOST_DRAFTED, STOP_BYTES = 8, 128
_PREFILL, _TEXT, _END = 1, 2, 3

Mask = Callable[[Sequence[int]], Iterable[bool]]
"""Says of the tokens so far which may follow: a bool for each of the vocabulary."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampler:
    """How tokens are chosen (NUMERICS.md, section 8); the defaults choose greedily."""

    temperature: float = 0.0
    top_k: int = c.ALL
    top_p: float = 1.0
    min_p: float = 0.0
    repetition: float = 1.0
    presence: float = 0.0
    frequency: float = 0.0
    window: int = c.ALL
    seed: int = 0
    bias: Mapping[int, float] = dataclasses.field(default_factory=dict)
    mask: Mask | None = None


class End(enum.IntEnum):
    """Why an answer ended."""

    STOP = 1
    LENGTH = 2
    FULL = 3
    CANCELLED = 4
    ERROR = 5


class Prefill(NamedTuple):
    """So many of the tokens that were given have been read."""

    done: int
    total: int
    text: str = ""


class Chosen(NamedTuple):
    """A token that was chosen, and the text that is certain now."""

    token: int
    text: str


class Ended(NamedTuple):
    """The one last event: why, the token that ended it, the text that was held back."""

    why: End
    token: int | None
    text: str
    status: str | None
    """Of an error: what the runtime calls it."""


Event = Prefill | Chosen | Ended


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What an answer may be, besides how its tokens are chosen."""

    most_tokens: int | None = None
    stop: Sequence[str] = ()
    stop_tokens: Sequence[int] = ()
    ignore_ends: bool = False
    keep: int | None = None
    """When the context is full: drop half of the tokens behind so many, and go on."""
    draft: int = 0
    show_control: bool = False
    continues: bool = False


class HostSession:
    """A model in the middle of a sequence; one thread at a time, but for `cancel`."""

    def __init__(
        self, model: HostModel, context: int, chunk: int, threads: int, draft: int
    ) -> None:
        self._pool, self._closed = None, False
        self.model = model
        self.context = context
        self._settings = (context, chunk, threads, draft)
        self._library = model.library
        config: c.Config = self._library.bitx_config_default()
        config.context_tokens = context
        config.chunk_rows = max(chunk, draft + 1)
        config.kept_rows = draft + 1
        self._pool = ctypes.create_string_buffer(THREAD_POOL_BYTES) if threads > 1 else None
        if self._pool is not None:
            if self._library.bitx_threads_start(self._pool, threads):
                raise BitexportError(f"{threads} threads cannot be started")
            entry = ctypes.cast(self._library.bitx_threads_for, ctypes.c_void_p)
            config.parallel_for = entry.value
            config.parallel_context = ctypes.addressof(self._pool)
        self._session, self._arena = open_session(model, config)
        self.arena_bytes = self._arena.size
        size = ctypes.c_size_t()
        here = ctypes.byref(model.model)
        model.require(self._library.bitx_generator_size(ctypes.byref(size), here, context))
        self._memory = c.Block(size.value)
        self.memory_bytes = self.arena_bytes + size.value
        self._opened = ctypes.c_void_p()
        model.require(
            self._library.bitx_generator_open(
                ctypes.byref(self._opened), self._session, self._memory.address, size.value
            )
        )

    def close(self) -> None:
        """Stop the threads; the session is of no use afterwards."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            self._library.bitx_threads_stop(pool)

    @property
    def _generator(self) -> ctypes.c_void_p:
        if self._closed:
            raise BitexportError("the session is closed", hint="make another of the model")
        return self._opened

    def __del__(self) -> None:
        self.close()

    @property
    def tokens(self) -> list[int]:
        """Every token so far: given, read or chosen."""
        count = ctypes.c_uint32()
        place = self._library.bitx_generator_tokens(self._generator, ctypes.byref(count))
        return [] if not count.value else list((ctypes.c_int32 * count.value).from_address(place))

    def reset(self) -> None:
        """Forget every token."""
        self._library.bitx_generator_reset(self._generator)

    def give(self, tokens: Sequence[int]) -> None:
        """Append tokens that are read before the next answer."""
        given = array("i", tokens)
        if not given:
            raise TextError(
                "an empty text has no token that an answer could follow", hint="give some text"
            )
        status = self._library.bitx_generator_give(self._generator, *given.buffer_info())
        if status == c.FULL:
            raise TextError(
                f"{len(given)} tokens do not fit a context of {self.context} that holds "
                f"{len(self.tokens)}",
                hint="give less, or begin again; `run --shift` drops old ones",
            )
        if status != c.OK:
            raise TextError(
                f"{len(given)} tokens cannot be read: {self.model.name(status)}",
                hint=f"tokens are 0 to {self.model.vocabulary - 1}, given between answers",
            )

    def shift(self, keep: int) -> None:
        """Drop half of the tokens behind the first `keep`; the others are read again."""
        self.model.require(self._library.bitx_generator_shift(self._generator, keep))

    def cancel(self) -> None:
        """End the answer before its next chunk or step; from any thread."""
        self._library.bitx_generator_cancel(self._generator)

    def answer(
        self, sampler: Sampler | None = None, answer: Answer | None = None
    ) -> Iterator[Event]:
        """Give the events of an answer to what was given, the last one `Ended`.

        An iterator that is dropped before its end cancels the answer.
        """
        answer = answer or Answer()
        require_limits(answer)
        asked = c.Answer(most_tokens=c.ALL if answer.most_tokens is None else answer.most_tokens)
        failures: list[Exception] = []
        kept = (
            _fill(asked, answer),
            _fill_sampler(
                asked.sampler, sampler or self.model.sampler(), self.model.vocabulary, failures
            ),
        )
        status = self._library.bitx_generator_start(self._generator, ctypes.byref(asked))
        if status != c.OK:
            raise TextError(
                f"this answer cannot begin: {self.model.name(status)}",
                hint="temperature 0 or above, top-k 1 or more, top-p above 0 and at most 1, "
                "min-p 0 to 1, repetition above 0; at most 8 stop tokens, a draft no longer than "
                "the session's, and something given",
            )
        events = self._events((asked, kept), failures)
        next(events)  # from here on, dropping it cancels the answer
        return events

    def _events(self, alive: object, failures: Sequence[Exception]) -> Iterator[Event]:
        event = c.Event()
        ended = False
        try:
            yield Prefill(0, 0)
            while not ended:
                self.model.require(
                    self._library.bitx_generator_next(self._generator, ctypes.byref(event))
                )
                ended = event.kind == _END
                if failures:
                    raise failures[0]
                yield _event(event, self.model)
        finally:
            if not (ended or self._closed):
                self.cancel()
                self._library.bitx_generator_next(self._generator, ctypes.byref(event))
            del alive

    def fork(self) -> HostSession:
        """Return a session that continues as this one would; between answers."""
        twin = HostSession(self.model, *self._settings)
        self.model.require(self._library.bitx_generator_fork(twin._generator, self._generator))
        return twin

    def save(self) -> bytes:
        """Return tokens and states, to be continued from on any device."""
        size = self._library.bitx_generator_save_size(self._generator)
        saved = bytearray(size)
        room = (ctypes.c_char * size).from_buffer(saved)
        self.model.require(self._library.bitx_generator_save(self._generator, room, size))
        return bytes(saved)

    def restore(self, saved: bytes) -> None:
        """Continue from what was saved; what is damaged, or of another model, changes nothing."""
        status = self._library.bitx_generator_restore(self._generator, saved, len(saved))
        if status != c.OK:
            raise refused_session(status, self.model.name(status))


def refused_session(status: int, name: str) -> BundleError:
    """Return the error of a saved session that the runtime does not take."""
    why = {
        c.MAGIC: "it is no saved session",
        c.VERSION: "it is of another version of bitexport",
        c.TRUNCATED: "it is shorter than it says, or longer",
        c.HASH: "it is damaged: its hash is another",
        c.FORMAT: "it is damaged",
        c.FULL: "it holds more tokens than the context has room for",
        c.MODEL: "it is of another model, or of this one with other options of numbers",
    }
    return BundleError(
        f"the saved session cannot be restored: {why.get(status, name)}",
        hint="it has to be whole, of a bundle of the same checkpoint and the same --kv-cache, "
        "--embedding, --activations, --head-activations and --precision; target and layout may be "
        "others",
    )


def open_session(model: HostModel, config: c.Config) -> tuple[ctypes.c_void_p, c.Block]:
    """Return a session of the runtime, and the memory that must live as long."""
    size, session = ctypes.c_size_t(), ctypes.c_void_p()
    here, settings = ctypes.byref(model.model), ctypes.byref(config)
    model.require(model.library.bitx_session_size(ctypes.byref(size), here, settings))
    arena = c.Block(size.value)
    model.require(
        model.library.bitx_session_open(
            ctypes.byref(session), here, settings, arena.address, arena.size
        )
    )
    return session, arena


def _event(event: c.Event, model: HostModel) -> Event:
    text = ctypes.string_at(event.text, event.bytes).decode() if event.bytes else ""
    token = None if event.token < 0 else int(event.token)
    if event.kind == _PREFILL:
        return Prefill(event.done, event.total)
    if event.kind == _TEXT:
        assert token is not None
        return Chosen(token, text)
    why = End(event.end)
    return Ended(why, token, text, model.name(event.status) if why == End.ERROR else None)


def require_limits(answer: Answer) -> None:
    """Refuse limits that the runtime has no numbers for, and stop strings that it does not take."""
    for name, number, least, most in (
        ("most_tokens", answer.most_tokens, 1, c.ALL), ("keep", answer.keep, 0, c.ALL),
        ("draft", answer.draft, 0, MOST_DRAFTED),
    ):  # fmt: skip
        if number is not None and not least <= number <= most:
            raise TextError(
                f"{name} {number} is not allowed", hint=f"it is a number from {least} to {most}"
            )
    for text in answer.stop:
        try:
            size = len(text.encode("utf-8"))
        except UnicodeEncodeError:
            size = 0
        if not 1 <= size <= STOP_BYTES:
            raise TextError(
                f"{text[:20]!r} is no stop string",
                hint=f"one has 1 to {STOP_BYTES} bytes of UTF-8",
            )


def _fill(asked: c.Answer, answer: Answer) -> object:
    """Write an answer's limits; return what must stay alive with it."""
    stops = [text.encode("utf-8") for text in answer.stop]
    views = (c.StringView * len(stops))(*(c.StringView(raw, len(raw)) for raw in stops))
    tokens = (ctypes.c_int32 * len(answer.stop_tokens))(*answer.stop_tokens)
    asked.stop_tokens, asked.stop_token_count = tokens, len(tokens)
    asked.ignore_ends = answer.ignore_ends
    asked.when_full, asked.keep = answer.keep is not None, answer.keep or 0
    asked.draft = answer.draft
    asked.stream.stops, asked.stream.stop_count = views, len(views)
    asked.stream.show_control, asked.stream.continues = answer.show_control, answer.continues
    return stops, views, tokens


def _fill_sampler(
    asked: c.Sampler, sampler: Sampler, vocabulary: int, failures: list[Exception]
) -> object:
    """Write how tokens are chosen; return what must stay alive with it.

    What a mask raises goes to `failures`: C cannot pass it on.
    """
    for name, bits in (("top_k", 32), ("window", 32), ("seed", 64)):
        if not 0 <= getattr(sampler, name) < 1 << bits:
            raise TextError(
                f"{name} {getattr(sampler, name)} is not allowed",
                hint=f"it is a whole number of {bits} bits, not below 0",
            )
    for name in ("temperature", "top_k", "top_p", "min_p", "repetition", "presence", "frequency",
                 "window", "seed"):  # fmt: skip
        setattr(asked, name, getattr(sampler, name))
    biases = (c.Bias * len(sampler.bias))(*itertools.starmap(c.Bias, sampler.bias.items()))
    asked.bias, asked.bias_count = biases, len(biases)
    if sampler.mask is None:
        return biases
    allows = sampler.mask

    def mask(_: int, history: int, count: int, allowed: int, __: int) -> None:
        words = bytes(-(-vocabulary // 32) * 4)
        try:
            tokens = list((ctypes.c_int32 * count).from_address(history))
            words = _packed(allows(tokens), vocabulary)
        except Exception as failure:
            failures.append(failure)
        ctypes.memmove(allowed, words, len(words))

    callback = c.TokenMask(mask)
    asked.mask = ctypes.cast(callback, ctypes.c_void_p)
    return biases, callback


def _packed(may: Iterable[bool], vocabulary: int) -> bytes:
    """Return bools as the bits of little-endian words, the first the lowest."""
    each = bytes(may)  # of a NumPy array of bools this is its memory, a byte for each too
    if len(each) != vocabulary:
        raise TextError(
            f"a mask says of {len(each)} tokens whether they may follow, the model has "
            f"{vocabulary}",
            hint="return a bool for each token of the vocabulary",
        )
    digits = each[::-1].translate(b"0" + b"1" * 255)
    return int(digits, 2).to_bytes(-(-vocabulary // 32) * 4, "little")
