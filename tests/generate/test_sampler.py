"""The C sampler chooses the token that the reference chooses, on every logits and every setting."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitexport.runtime import library as c
from bitexport.targets import find_target
from bitexport.toolchain.compile import Library
from bitexport_ref.errors import NotFinite, NoToken, TokenOutside
from bitexport_ref.sampler import ALL, Sampler

F32 = NDArray[np.float32]
Choose = Callable[..., int]
ARGUMENT, TOKEN, NOT_FINITE, MASK, ROOM = -1, -10, -11, -18, -20
CASES = 4000
SEEDS = (0, 1, (1 << 32) - 1, 1 << 32, (1 << 64) - 1)
FIELDS = [field.name for field in dataclasses.fields(Sampler) if field.name not in ("bias", "mask")]


@pytest.fixture(scope="module")
def sample(libraries: Callable[..., Library]) -> Choose:
    """Return a function that calls bitx_sample: the token, or a status below 0."""
    shared = libraries(find_target("host")).shared
    assert shared is not None
    loaded = c.load_library(shared)
    loaded.bitx_sample_room.restype = ctypes.c_size_t

    def choose(sampler: Sampler, logits: F32, history: Sequence[int], *, short: int = 0) -> int:
        asked: c.Sampler = loaded.bitx_sampler_greedy()
        for name in FIELDS:
            setattr(asked, name, getattr(sampler, name))
        biases = (c.Bias * len(sampler.bias))(*itertools.starmap(c.Bias, sampler.bias.items()))
        asked.bias, asked.bias_count = biases, len(biases)
        callback = c.TokenMask(masking(sampler, history))
        if sampler.mask:
            asked.mask = ctypes.cast(callback, ctypes.c_void_p)
        size = loaded.bitx_sample_room(len(logits)) - short
        work, past = np.empty(size + 4, np.uint8), np.asarray(history, np.int32)
        work[size:] = 0xA5
        token, row = ctypes.c_int32(-1), np.ascontiguousarray(logits, np.float32)
        status = loaded.bitx_sample(
            ctypes.byref(token), ctypes.byref(asked), ctypes.c_void_p(row.ctypes.data), len(row),
            ctypes.c_void_p(past.ctypes.data), ctypes.c_size_t(past.size),
            ctypes.c_void_p(work.ctypes.data), ctypes.c_size_t(size),
        )  # fmt: skip
        assert (work[size:] == 0xA5).all()
        return int(status) or token.value

    return choose


def masking(sampler: Sampler, expected: Sequence[int]) -> Callable[..., None]:
    """Return a mask as C calls it, that checks what it is told."""

    def mask(_: int, history: int, count: int, allowed: int, vocabulary: int) -> None:
        assert sampler.mask
        assert [*(ctypes.c_int32 * count).from_address(history)] == [*expected] if count else True
        words = (ctypes.c_uint32 * -(-vocabulary // 32)).from_address(allowed)
        assert set(words) == {0xFFFFFFFF}
        for token in np.flatnonzero(~sampler.mask(expected)).tolist():
            words[token // 32] &= ~(1 << token % 32)

    return mask


def drawn(rng: np.random.Generator) -> tuple[Sampler, F32, list[int]]:
    """Return a random case; rounded logits have many ties."""

    def one_of(*values: float) -> Any:
        return float(np.float32(rng.choice(values)))

    size = int(rng.choice([1, 2, 5, 33, 512, 3000]))
    logits = (rng.standard_normal(size) * rng.choice([0.1, 1, 10, 60])).astype(np.float32)
    if rng.random() < 0.3:
        logits = np.round(logits)
    if rng.random() < 0.1:
        logits[rng.integers(0, size, 3)] = -np.inf
    history = rng.integers(0, size, int(rng.integers(0, 60))).tolist()
    biases = {int(t): one_of(-np.inf, 1.5, -2) for t in rng.integers(0, size, 3)}
    allowed = rng.random(size) < rng.choice([0.02, 0.5])
    return (
        Sampler(
            temperature=one_of(0, 0.3, 0.8, 1, 3),
            top_k=int(rng.choice([1, 2, 3, 40, ALL])),
            top_p=one_of(1, 0.99, 0.9, 0.3, 1e-6),
            min_p=one_of(0, 0.05, 0.5, 1),
            repetition=one_of(1, 1.3, 0.7),
            presence=one_of(0, 0.4, -0.4),
            frequency=one_of(0, 0.2, -0.2),
            window=int(rng.choice([0, 1, 8, ALL])),
            seed=int(rng.choice(np.array(SEEDS, np.uint64))),
            bias=biases if rng.random() < 0.3 else {},
            mask=(lambda _: allowed) if rng.random() < 0.2 else None,
        ),
        logits,
        history,
    )


@pytest.mark.parametrize("seed", range(4))
def test_c_and_reference_choose_the_same(seed: int, sample: Choose) -> None:
    rng = np.random.default_rng(seed)
    empty = 0
    for case in range(CASES // 4):
        sampler, logits, history = drawn(rng)
        try:
            expected = sampler.choose(logits, history)
        except NoToken:
            expected, empty = MASK, empty + 1
        assert sample(sampler, logits, history) == expected, (seed, case, sampler)
    assert empty


def test_a_choice_is_refused_with_the_status_of_the_reference(sample: Choose) -> None:
    logits = np.array([1, 2, 3], np.float32)
    warm = Sampler(temperature=1.0)
    for changed in (np.nan, np.inf):
        for sampler in (Sampler(), warm):
            row = np.array([1, changed, 3], np.float32)
            with pytest.raises(NotFinite):
                sampler.choose(row, [])
            assert sample(sampler, row, []) == NOT_FINITE
    cold = Sampler(temperature=1e-30)
    with pytest.raises(NotFinite):
        cold.choose(logits * np.float32(1e20), [])
    assert sample(cold, logits * np.float32(1e20), []) == NOT_FINITE
    nothing = Sampler(mask=lambda _: np.zeros(3, bool))
    with pytest.raises(NoToken):
        nothing.choose(logits, [])
    assert sample(nothing, logits, []) == MASK
    penalized = Sampler(presence=1.0)
    with pytest.raises(TokenOutside):
        penalized.choose(logits, [3])
    assert sample(penalized, logits, [3]) == TOKEN
    with pytest.raises(TokenOutside):
        Sampler(bias={3: 1.0}).choose(logits, [])
    assert sample(Sampler(bias={3: 1.0}), logits, []) == TOKEN


@pytest.mark.parametrize(
    "field",
    [
        {"temperature": np.nan}, {"temperature": -1.0}, {"temperature": np.inf}, {"top_k": 0},
        {"top_p": 0.0}, {"top_p": 1.5}, {"top_p": np.nan}, {"min_p": -0.1}, {"min_p": 1.1},
        {"min_p": np.nan}, {"repetition": 0.0}, {"repetition": np.nan}, {"repetition": np.inf},
        {"presence": np.nan}, {"presence": np.inf}, {"frequency": np.nan}, {"frequency": -np.inf},
    ],
    ids=str,
)  # fmt: skip
def test_numbers_that_mean_nothing_are_refused(field: dict[str, float], sample: Choose) -> None:
    sampler = object.__new__(Sampler)  # the reference would refuse it here
    for name, value in {**dataclasses.asdict(Sampler()), **field}.items():
        object.__setattr__(sampler, name, value)
    assert sample(sampler, np.ones(3, np.float32), []) == ARGUMENT


def test_a_byte_of_work_less_is_refused(sample: Choose) -> None:
    assert sample(Sampler(), np.ones(33, np.float32), [], short=1) == ROOM
    assert sample(Sampler(), np.ones(33, np.float32), []) == 0
