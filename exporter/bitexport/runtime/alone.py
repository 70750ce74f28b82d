"""A model with nothing around it: text in, text out, as a wheel of one model offers it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bitexport.errors import BundleError
from bitexport.runtime.model import SOUND, HostModel, Message
from bitexport.runtime.self_test import SelfTest, self_test
from bitexport.runtime.session import Answer, End, Ended, Event, HostSession


class Model(HostModel):
    """A model that begins a session of its own for every answer.

    `sampling` changes fields of the model's own `Sampler`: temperature, top_k, top_p, seed ...
    """

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text that begins a sequence."""
        return self.encode(text)

    def generate(
        self, prompt: str | Sequence[int], answer: Answer | None = None, *, threads: int = 1,
        **sampling: Any,
    ) -> Iterator[Event]:  # fmt: skip
        """Give the events of what goes on behind a prompt, each with a `text` that may be empty.

        An iterator that is dropped before its end computes nothing more.
        """
        given = self.tokens(prompt) if isinstance(prompt, str) else prompt
        return self._answer(given, answer or Answer(continues=True), threads, sampling)

    def chat(
        self, messages: Sequence[Message | tuple[str, str]], answer: Answer | None = None, *,
        threads: int = 1, **sampling: Any,
    ) -> Iterator[Event]:  # fmt: skip
        """Give the events of the assistant's answer to messages, pairs of role and content."""
        said = [Message(*message) for message in messages]
        return self._answer(self.chat_tokens(said), answer or Answer(), threads, sampling)

    def self_test(self) -> SelfTest:
        """Run the model's own prompt op by op and compare with what the reference computed."""
        return self_test(self)

    def _answer(
        self, given: Sequence[int], answer: Answer, threads: int, sampling: dict[str, Any]
    ) -> Iterator[Event]:
        session = self.session(threads=threads, draft=answer.draft)
        session.give(given)
        events = session.answer(self.sampler(**sampling), answer)
        return self._watched(session, events)

    def _watched(self, session: HostSession, events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            if isinstance(event, Ended) and event.why == End.ERROR:
                raise BundleError(f"{self.data}: {event.status}", hint=SOUND)
            yield event
        session.close()
