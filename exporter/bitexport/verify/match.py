"""Compare a run with the reference, walking to the first place where they part."""

from __future__ import annotations

import dataclasses

from bitexport.verify.expected import Expected
from bitexport.verify.observed import Observed


@dataclasses.dataclass(frozen=True)
class Difference:
    """The first difference of a run: an op output at a position, or what else was wrong."""

    position: int
    output: int | None
    """The op output that has other bits; None when there are no bits to compare."""
    name: str
    what: str
    returned: bool = False
    """The bits are those of the logits that the call returned, not those of a trace."""


def first_difference(expected: Expected, observed: Observed, *, traced: bool) -> Difference | None:
    """Return the first difference: by position, and at a position by order of the plan."""
    for position in range(expected.positions):
        found = _in_trace(expected, observed, position) if traced else None
        if found is None and position >= len(expected.prompt) - 1:
            found = _in_answer(expected, observed, position)
        if found:
            return found
    return _afterwards(expected, observed, traced=traced)


def _in_trace(expected: Expected, observed: Observed, position: int) -> Difference | None:
    for output, (name, op_type) in enumerate(expected.outputs):
        found = observed.digests.get((output, position))
        if found is None:
            return _missing(position, name, f"{op_type} `{name}`", observed)
        if found != expected.digests[output][position]:
            return Difference(position, output, name, f"{op_type} `{name}` differs")
    return None


def _in_answer(expected: Expected, observed: Observed, position: int) -> Difference | None:
    """Compare what the caller got: the logits and the token that was chosen from them."""
    last, (name, _) = len(expected.outputs) - 1, expected.outputs[-1]
    if position not in observed.logits:
        return _missing(position, name, "the row of logits", observed)
    if observed.logits[position] != expected.logits(position):
        return Difference(position, last, name, "the logits differ", returned=True)
    chosen = position - len(expected.prompt) + 1
    if observed.tokens[chosen : chosen + 1] != (expected.generated[chosen],):
        return Difference(position, None, "token", "another token was chosen")
    return None


def _afterwards(expected: Expected, observed: Observed, *, traced: bool) -> Difference | None:
    extra = len(observed.digests) - len(expected.outputs) * expected.positions
    if traced and extra:
        return Difference(expected.positions, None, "trace", f"{extra} op outputs too many")
    if observed.tokens != expected.generated:
        return Difference(expected.positions, None, "token", "another number of tokens was chosen")
    if observed.stopped:
        return Difference(expected.positions, None, "end", f"the run stopped: {observed.stopped}")
    return None


def _missing(position: int, name: str, what: str, observed: Observed) -> Difference:
    why = f": the run stopped: {observed.stopped}" if observed.stopped else ""
    return Difference(position, None, name, f"{what} was not computed{why}")
