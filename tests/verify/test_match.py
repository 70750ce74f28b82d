"""A run is walked by position, then by the order of the plan, to the first place that differs."""

from __future__ import annotations

import dataclasses

import pytest

from bitexport.verify.expected import Expected
from bitexport.verify.match import first_difference
from bitexport.verify.observed import Observed

EXPECTED = Expected(
    prompt=(5, 6),
    generated=(7, 8),
    outputs=(("embedding", "EmbedBf16"), ("logits", "DenseMatMulBf16")),
    digests=(("e0", "e1", "e2"), ("l0", "l1", "l2")),
)
EQUAL = Observed(
    available=("scalar",),
    used="scalar",
    arena_bytes=64,
    digests={
        (output, position): EXPECTED.digests[output][position]
        for output in range(2)
        for position in range(3)
    },
    logits={1: "l1", 2: "l2"},
    tokens=(7, 8),
)


def without(*places: tuple[int, int], stopped: str | None = None) -> Observed:
    digests = {place: digest for place, digest in EQUAL.digests.items() if place not in places}
    return dataclasses.replace(EQUAL, digests=digests, stopped=stopped)


def test_equal_runs_have_no_difference() -> None:
    assert first_difference(EXPECTED, EQUAL, traced=True) is None
    fused = dataclasses.replace(EQUAL, digests={})
    assert first_difference(EXPECTED, fused, traced=False) is None


@pytest.mark.parametrize("output", [0, 1])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_other_digest_is_found_where_it_is(output: int, position: int) -> None:
    other = dataclasses.replace(EQUAL, digests=EQUAL.digests | {(output, position): "x"})
    found = first_difference(EXPECTED, other, traced=True)
    assert found is not None
    assert (found.position, found.output, found.returned) == (position, output, False)
    assert found.name == EXPECTED.outputs[output][0]
    assert found.what == f"{EXPECTED.outputs[output][1]} `{found.name}` differs"


def test_an_earlier_position_comes_before_an_earlier_op() -> None:
    digests = EQUAL.digests | {(0, 2): "x", (1, 1): "x"}
    found = first_difference(EXPECTED, dataclasses.replace(EQUAL, digests=digests), traced=True)
    assert found is not None
    assert (found.position, found.output) == (1, 1)


def test_a_digest_that_is_missing_is_a_difference_without_bits() -> None:
    found = first_difference(EXPECTED, without((1, 0)), traced=True)
    assert found is not None
    assert (found.position, found.output) == (0, None)
    assert found.what == "DenseMatMulBf16 `logits` was not computed"


def test_the_difference_before_a_stop_is_found_and_not_the_stop() -> None:
    stopped = without((1, 1), (0, 2), (1, 2), stopped="status -11 not a finite number")
    other = dataclasses.replace(stopped, digests=stopped.digests | {(0, 1): "x"})
    found = first_difference(EXPECTED, other, traced=True)
    assert found is not None
    assert (found.position, found.output) == (1, 0)


def test_a_stop_says_why_an_op_was_not_computed() -> None:
    stopped = without((1, 1), (0, 2), (1, 2), stopped="status -11 not a finite number")
    found = first_difference(EXPECTED, stopped, traced=True)
    assert found is not None
    assert found.position == 1
    assert found.what.endswith("not computed: the run stopped: status -11 not a finite number")


def test_a_run_that_computed_everything_and_then_died_is_not_equal() -> None:
    died = dataclasses.replace(EQUAL, stopped="was stopped by SIGSEGV")
    found = first_difference(EXPECTED, died, traced=True)
    assert found is not None
    assert "SIGSEGV" in found.what


def test_an_op_output_too_many_is_a_difference() -> None:
    more = dataclasses.replace(EQUAL, digests=EQUAL.digests | {(2, 0): "x"})
    found = first_difference(EXPECTED, more, traced=True)
    assert found is not None
    assert "1 op outputs too many" in found.what


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("position", [1, 2])
def test_logits_that_are_returned_count_even_where_the_trace_agrees(
    position: int, traced: bool
) -> None:
    other = dataclasses.replace(EQUAL, logits=dict(EQUAL.logits) | {position: "x"})
    found = first_difference(EXPECTED, other, traced=traced)
    assert found is not None
    assert (found.position, found.output, found.returned) == (position, 1, True)


def test_logits_that_are_missing_are_a_difference_without_bits() -> None:
    other = dataclasses.replace(EQUAL, logits={1: "l1"})
    found = first_difference(EXPECTED, other, traced=False)
    assert found is not None
    assert (found.position, found.output) == (2, None)


@pytest.mark.parametrize(
    ("tokens", "position"), [((9, 8), 1), ((7, 9), 2), ((7,), 2), ((), 1), ((7, 8, 9), 3)]
)
def test_tokens_are_compared_one_by_one(tokens: tuple[int, ...], position: int) -> None:
    other = dataclasses.replace(EQUAL, tokens=tokens)
    found = first_difference(EXPECTED, other, traced=True)
    assert found is not None
    assert (found.position, found.output, found.name) == (position, None, "token")
