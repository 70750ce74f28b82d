"""The reference generates as NUMERICS.md, section 8 says, and proves what others generated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from bitexport_ref.errors import ContextFull, TokenOutside
from bitexport_ref.evaluator import ReferenceModel, load
from bitexport_ref.generator import Chosen, Difference, End, Ended, Generator, check_transcript
from bitexport_ref.sampler import Sampler, kept_by_shift

VOCABULARY, CONTEXT = 19, 40
WARM = Sampler(temperature=9.0, seed=3, repetition=1.1)
PROMPT = [1, 5, 7, 2]


@pytest.fixture
def model(language_model: Callable[..., Path]) -> ReferenceModel:
    """Return a random model of 19 tokens and a context of 40."""
    return load(language_model(vocab=VOCABULARY, context=CONTEXT))


def plainly(model: ReferenceModel, given: Sequence[int], sampler: Sampler, count: int) -> list[int]:
    """Choose tokens one after the other, each by a run of the whole sequence."""
    tokens = list(given)
    for _ in range(count):
        row = model.session().run(np.asarray(tokens, np.int32), trace=False).logits[-1]
        tokens.append(sampler.choose(row, tokens))
    return tokens


def begun(model: ReferenceModel, given: Sequence[int] = PROMPT) -> Generator:
    """Return a generator that was given tokens."""
    generator = Generator(model, VOCABULARY, CONTEXT)
    generator.give(given)
    return generator


@pytest.mark.parametrize("sampler", [Sampler(), WARM], ids=["greedy", "warm"])
def test_each_token_is_chosen_from_all_before_it(sampler: Sampler, model: ReferenceModel) -> None:
    generator = begun(model)
    events = list(generator.answer(sampler, most_tokens=12))
    assert generator.tokens == plainly(model, PROMPT, sampler, 12)
    assert [event.token for event in events if isinstance(event, Chosen)] == generator.tokens[4:]
    assert events[-1] == Ended(End.LENGTH, None, "")


def test_what_is_given_later_goes_on_from_there(model: ReferenceModel) -> None:
    generator = begun(model)
    list(generator.answer(WARM, most_tokens=5))
    generator.give([4, 4])
    list(generator.answer(WARM, most_tokens=5))
    first = plainly(model, PROMPT, WARM, 5)
    assert generator.tokens == plainly(model, [*first, 4, 4], WARM, 5)


def test_a_token_that_ends_an_answer_is_not_kept(model: ReferenceModel) -> None:
    whole = plainly(model, PROMPT, WARM, 9)
    end = next(token for at, token in enumerate(whole) if at > 4 and token not in whole[4:at])
    generator = begun(model)
    *_, last = generator.answer(WARM, ends={end})
    assert last == Ended(End.STOP, end, "")
    assert generator.tokens == whole[: whole.index(end, 4)]
    with pytest.raises(ValueError, match="nothing was given"):
        next(generator.answer(WARM))


def test_a_full_context_is_the_end_or_is_shifted(model: ReferenceModel) -> None:
    generator = begun(model)
    *_, last = generator.answer(WARM)
    assert last == Ended(End.FULL, None, "")
    assert generator.tokens == plainly(model, PROMPT, WARM, CONTEXT + 1 - len(PROMPT))
    shifted = begun(model)
    *_, last = shifted.answer(WARM, most_tokens=CONTEXT, keep=2)
    assert last == Ended(End.LENGTH, None, "")
    again = kept_by_shift(generator.tokens, 2)
    count = CONTEXT - (CONTEXT + 1 - len(PROMPT))
    assert shifted.tokens == plainly(model, again, WARM, count)
    *_, last = begun(model).answer(WARM, keep=CONTEXT + 1)
    assert last.why == End.FULL  # type: ignore[union-attr]


def test_what_cannot_be_given_is_refused(model: ReferenceModel) -> None:
    generator = begun(model)
    for token in (-1, VOCABULARY):
        with pytest.raises(TokenOutside):
            generator.give([1, token])
    with pytest.raises(ContextFull):
        generator.give([1] * (CONTEXT - 3))
    with pytest.raises(ContextFull):
        generator.shift(4)
    assert generator.tokens == PROMPT


@pytest.mark.parametrize("sampler", [Sampler(), WARM], ids=["greedy", "warm"])
def test_a_transcript_is_proven_or_its_first_difference_named(
    sampler: Sampler, model: ReferenceModel
) -> None:
    tokens = plainly(model, PROMPT, sampler, 8)
    chosen = tokens[4:]
    assert check_transcript(model, PROMPT, chosen, sampler) is None
    for place in range(8):
        other = (chosen[place] + 1) % VOCABULARY
        wrong = [*chosen[:place], other, *chosen[place + 1 :]]
        found = check_transcript(model, PROMPT, wrong, sampler)
        assert found == Difference(place, other, chosen[place])
