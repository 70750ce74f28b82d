"""Choosing a token from logits, to the bit (NUMERICS.md, section 8)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import BadOperand, NotFinite, NoToken, TokenOutside
from bitexport_ref.numerics import F32, exp, lane_tree

ALL = 0xFFFFFFFF
LANES = 8
MOST_DRAFTED, LONGEST_MATCH = 8, 3

Mask = Callable[[Sequence[int]], NDArray[np.bool_]]
"""Says of the tokens so far which may follow: (vocab)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampler:
    """How tokens are chosen; the defaults choose greedily and change no logit."""

    temperature: float = 0.0
    top_k: int = ALL
    top_p: float = 1.0
    min_p: float = 0.0
    repetition: float = 1.0
    presence: float = 0.0
    frequency: float = 0.0
    window: int = ALL
    """How many of the last tokens the penalties look at."""
    seed: int = 0
    bias: Mapping[int, float] = dataclasses.field(default_factory=dict)
    mask: Mask | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing: `BadOperand`."""
        for holds, what in (
            (0 <= self.temperature < math.inf, f"temperature {self.temperature}"),
            (1 <= self.top_k <= ALL, f"top-k {self.top_k}"),
            (0 < self.top_p <= 1, f"top-p {self.top_p}"),
            (0 <= self.min_p <= 1, f"min-p {self.min_p}"),
            (0 < self.repetition < math.inf, f"repetition penalty {self.repetition}"),
            (math.isfinite(self.presence), f"presence penalty {self.presence}"),
            (math.isfinite(self.frequency), f"frequency penalty {self.frequency}"),
            (0 <= self.window <= ALL, f"window {self.window}"),
            (0 <= self.seed < 1 << 64, f"seed {self.seed}"),
            (all(b < math.inf for b in self.bias.values()), "a bias of +infinity or NaN"),
        ):
            if not holds:
                message = f"{what} is not allowed"
                raise BadOperand(message)

    def choose(self, logits: F32, history: Sequence[int]) -> int:
        """Return the token that follows `history` (all tokens so far): logits (vocab) -> id."""
        with np.errstate(all="ignore"):
            adjusted = self._adjusted(logits, history)
            candidates = self._candidates(adjusted, history)
            if self.temperature == 0:
                return int(candidates[np.argmax(adjusted[candidates])])
            return self._draw(adjusted, candidates, len(history))

    def _adjusted(self, logits: F32, history: Sequence[int]) -> F32:
        """Apply penalties and biases (steps 1 and 2)."""
        l = logits.astype(np.float32)  # noqa: E741 - as NUMERICS.md calls it
        recent = history[max(0, len(history) - self.window) :]
        ids, counts = np.unique(np.asarray(recent, np.int64), return_counts=True)
        repetition, frequency, presence = map(
            np.float32, (self.repetition, self.frequency, self.presence)
        )
        penalized = repetition != 1 or frequency != 0 or presence != 0
        if penalized and not ((ids >= 0) & (ids < len(l))).all():
            message = f"the history has tokens outside the vocabulary of {len(l)}"
            raise TokenOutside(message)
        if repetition != 1:
            l[ids] = np.where(l[ids] > 0, l[ids] / repetition, l[ids] * repetition)
        if frequency != 0 or presence != 0:
            l[ids] = (l[ids] - counts.astype(np.float32) * frequency) - presence
        for token, bias in self.bias.items():
            if not 0 <= token < len(l):
                message = f"a bias for token {token}, outside the vocabulary of {len(l)}"
                raise TokenOutside(message)
            l[token] = l[token] + np.float32(bias)
        return l

    def _candidates(self, l: F32, history: Sequence[int]) -> NDArray[np.intp]:  # noqa: E741
        """Return the ids that may be chosen, increasing (step 3)."""
        if not (l < np.inf).all():  # a NaN compares false
            message = "a logit is NaN or +infinity"
            raise NotFinite(message)
        allowed = l > -np.inf
        if self.mask is not None:
            allowed &= self.mask(history)
        candidates = np.flatnonzero(allowed)
        if not candidates.size:
            message = "the mask and the biases leave no token to choose"
            raise NoToken(message)
        return candidates

    def _draw(self, l: F32, candidates: NDArray[np.intp], position: int) -> int:  # noqa: E741
        """Temperature, top-k, softmax, top-p, min-p, and the draw (steps 5 to 10)."""
        scaled = l[candidates] / np.float32(self.temperature)
        if not np.isfinite(scaled).all():
            message = f"logits divided by temperature {self.temperature} are not finite"
            raise NotFinite(message)
        order = np.lexsort((candidates, -scaled))[: self.top_k]
        ids, kept = candidates[order], scaled[order]
        e = exp(kept - kept[0])
        p = e / _sum_by_id(e, ids)
        cumulative = np.add.accumulate(p, dtype=np.float32)  # one by one, in order
        if self.top_p < 1:
            reached = np.flatnonzero(cumulative >= np.float32(self.top_p))
            p = p[: reached[0] + 1] if reached.size else p
        if self.min_p > 0:
            p = p[p >= np.float32(self.min_p) * p[0]]  # p falls: a prefix
        running = cumulative[: len(p)]
        cut = self.top_p < 1 or self.min_p > 0
        total = running[-1] if cut else np.float32(1)
        threshold = uniform(self.seed, position) * total
        above = np.flatnonzero(running > threshold)
        return int(ids[above[0] if above.size else len(p) - 1])


def _sum_by_id(e: F32, ids: NDArray[np.intp]) -> np.float32:
    """Add candidate i to lane i mod 8, i increasing, and join the lanes."""
    order = np.argsort(ids)
    lanes = np.zeros(LANES, np.float32)
    for lane in range(LANES):
        mine = e[order][ids[order] % LANES == lane]
        if mine.size:
            lanes[lane] = np.add.accumulate(mine, dtype=np.float32)[-1]
    total: np.float32 = lane_tree(lanes)  # type: ignore[assignment]
    return total


def uniform(seed: int, position: int) -> np.float32:
    """Return u of a position, a multiple of 2^-24 in [0, 1)."""
    word = philox4x32((position, 0, 0, 0), (seed & 0xFFFFFFFF, seed >> 32))[0]
    return np.float32(word >> 8) * np.float32(2.0**-24)


def philox4x32(
    counter: tuple[int, int, int, int], key: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3"."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (
            (p1 >> 32) ^ c1 ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF,
        )  # fmt: skip
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def drafted(history: Sequence[int], most: int) -> list[int]:
    """Return what prompt lookup drafts behind the tokens so far, at most `most` tokens."""
    for length in range(min(LONGEST_MATCH, len(history) - 1), 0, -1):
        last = tuple(history[-length:])
        for start in range(len(history) - length - 1, -1, -1):
            if tuple(history[start : start + length]) == last:
                follows = history[start + length : start + length + min(most, MOST_DRAFTED)]
                return list(follows)
    return []


def kept_by_shift(history: Sequence[int], keep: int) -> list[int]:
    """Return the tokens that stay when a full context is shifted."""
    keep = min(keep, len(history))
    rest = list(history[keep:])
    stays = len(rest) // 2
    return [*history[:keep], *rest[len(rest) - stays :]]
