"""Perplexity, by one definition.

The text is tokenized whole with the bundle's tokenizer.json and cut into consecutive windows of
`context` tokens that do not overlap.  Each window is a fresh sequence that begins with what the
tokenizer puts before a text (a begin token, where it has one), so every token of the text is
predicted once; without such a prefix the first token of a window is not predicted.

The nats of token t are -log softmax(logits of position t - 1)[t], in float64 from float32 logits
(likelihood.py).  Nats per token are their mean over the predicted tokens of all windows, perplexity
is e to that, bits per byte are their sum over ln 2 and the UTF-8 bytes of the predicted tokens.
Sums are exact (math.fsum) before they are rounded once, so neither the order of the windows nor who
scored them can change a bit.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bitexport.evaluate.likelihood import F64, exp
from bitexport.evaluate.windows import Text, Window
from bitexport.progress import Advance

MOST_CONTEXT = 512
"""Tokens of a window unless told otherwise: what published figures of small models use."""

LARGEST_EXPONENT = 709.0  # e to more is no float64

Scored = Iterator[tuple[int, F64]]
Score = Callable[[Sequence[Window]], Scored]


@dataclasses.dataclass(frozen=True)
class Perplexity:
    """How well a model predicts a text."""

    perplexity: float
    nats_per_token: float
    bits_per_byte: float
    tokens: int
    """Of the text, without what is put before it."""
    predicted: int
    windows: int


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Each text by itself, and all of them as if they were one."""

    texts: tuple[Perplexity, ...]
    whole: Perplexity


def evaluate(
    texts: Sequence[Text], context: int, score: Score, advance: Advance = lambda done: None
) -> Evaluation:
    """Score the windows of every text; `advance` hears how many tokens have been predicted."""
    cut = [text.windows(context) for text in texts]
    windows = [window for each in cut for window in each]
    nats: dict[int, F64] = {}
    done = 0
    for index, made in score(windows):
        nats[index] = made
        done += len(made)
        advance(done)
    ordered = [nats[index] for index in range(len(windows))]
    found, start = [], 0
    for text, each in zip(texts, cut, strict=True):
        found.append(_summed(len(text.tokens), each, ordered[start : start + len(each)]))
        start += len(each)
    whole = _summed(sum(len(text.tokens) for text in texts), windows, ordered)
    return Evaluation(tuple(found), whole)


def _summed(tokens: int, windows: Sequence[Window], nats: Sequence[F64]) -> Perplexity:
    predicted = sum(map(len, nats))
    total = math.fsum(value for each in nats for value in each.tolist())
    mean = total / predicted
    size = sum(window.predicted_bytes for window in windows)
    return Perplexity(
        perplexity=float(exp(np.array([mean]))[0]) if mean < LARGEST_EXPONENT else math.inf,
        nats_per_token=mean,
        bits_per_byte=total / math.log(2) / size if size else math.inf,
        tokens=tokens,
        predicted=predicted,
        windows=len(windows),
    )
