"""Answers: what is given is read, what follows is chosen, one token at a time (NUMERICS.md, 8)."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bitexport_ref.errors import ContextFull, TokenOutside
from bitexport_ref.evaluator import ReferenceModel
from bitexport_ref.numerics import F32
from bitexport_ref.sampler import Sampler, kept_by_shift
from bitexport_ref.text.stream import TextStream


class End(enum.StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    FULL = "full"


class Chosen(NamedTuple):
    """A token that was chosen, and the text that is certain now."""

    token: int
    text: str


class Ended(NamedTuple):
    """The last event of an answer: why, the token that ended it, the text that was held back."""

    why: End
    token: int | None
    text: str


class Generator:
    """A session of the reference, the tokens in it, and how they go on."""

    def __init__(self, model: ReferenceModel, vocabulary: int, context: int) -> None:
        self.session = model.session()
        self.vocabulary = vocabulary
        self.context = context
        self.tokens: list[int] = []

    def give(self, tokens: Sequence[int]) -> None:
        """Append tokens that are read before the next answer."""
        for token in tokens:
            if not 0 <= token < self.vocabulary:
                message = f"token {token} is outside the vocabulary of {self.vocabulary}"
                raise TokenOutside(message)
        if len(self.tokens) + len(tokens) > self.context:
            message = f"{len(self.tokens)} and {len(tokens)} tokens pass {self.context}"
            raise ContextFull(message)
        self.tokens += tokens

    def shift(self, keep: int) -> None:
        """Drop half of the tokens behind the first `keep`; the others are read again."""
        if len(self.tokens) <= keep:
            message = f"{len(self.tokens)} tokens, {keep} of them to keep, leave none to drop"
            raise ContextFull(message)
        self.tokens = kept_by_shift(self.tokens, keep)
        self.session.reset()

    def answer(
        self,
        sampler: Sampler,
        *,
        ends: Collection[int] = (),
        most_tokens: int | None = None,
        keep: int | None = None,
        stream: TextStream | None = None,
    ) -> Iterator[Chosen | Ended]:
        """Choose tokens until one of `ends`, a stop string of the stream, or a limit.

        With `keep` a full context is shifted and goes on.  Nothing given is a `ValueError`.
        """
        if len(self.tokens) == self.session.position:
            message = "nothing was given that an answer could follow"
            raise ValueError(message)
        held = stream.finish if stream else str
        chosen = 0
        while chosen != most_tokens:
            if self.session.position == self.context:
                if keep is None or len(self.tokens) <= keep:
                    yield Ended(End.FULL, None, held())
                    return
                self.shift(keep)
            token = sampler.choose(self._logits(), self.tokens)
            if token in ends:  # it is not kept
                yield Ended(End.STOP, token, held())
                return
            self.tokens.append(token)
            chosen += 1
            yield Chosen(token, stream.push(token) if stream else "")
            if stream and stream.stopped:
                yield Ended(End.STOP, None, "")
                return
        yield Ended(End.LENGTH, None, held())

    def _logits(self) -> F32:
        """Read what has not been read; return the logits of the last token, (vocab)."""
        waiting = np.asarray(self.tokens[self.session.position :], np.int32)
        logits: F32 = self.session.run(waiting, trace=False, rows="last").logits[-1]
        return logits


class Difference(NamedTuple):
    """The first token of a transcript that would not have been chosen."""

    place: int
    found: int
    expected: int


def check_transcript(
    model: ReferenceModel, prompt: Sequence[int], chosen: Sequence[int], sampler: Sampler
) -> Difference | None:
    """Prove in one pass that each token follows from those before it; None if all do."""
    tokens = [*prompt, *chosen]
    if not prompt or not chosen:
        return None
    outputs = model.session().run(np.asarray(tokens[:-1], np.int32), trace=False)
    for index, found in enumerate(chosen):
        position = len(prompt) + index
        expected = sampler.choose(outputs.logits[position - 1], tokens[:position])
        if expected != found:
            return Difference(index, found, expected)
    return None
