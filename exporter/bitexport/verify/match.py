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
    name: str
    what: str


def first_difference(expected: Expected, observed: Observed, *, traced: bool) -> Difference | None:
    """Return the first difference: by position, and at a position by order of the plan."""
    for position in range(expected.positions):
        if traced:
            for output, (name, op_type) in enumerate(expected.outputs):
                found = observed.digests.get((output, position))
                if found != expected.digests[output][position]:
                    what = f"{op_type} `{name}` differs" if found else f"`{name}` was not computed"
                    return Difference(position, output, name, what)
        last = len(expected.prompt) - 1
        if position < last:
            continue
        if observed.logits.get(position) != expected.logits(position):
            name = expected.outputs[-1][0]
            return Difference(position, len(expected.outputs) - 1, name, "the logits differ")
        chosen = position - last
        if observed.tokens[chosen : chosen + 1] != (expected.generated[chosen],):
            return Difference(position, None, "token", "another token was chosen")
    extra = len(observed.digests) - len(expected.outputs) * expected.positions
    if traced and extra:
        return Difference(expected.positions, None, "trace", f"{extra} op outputs too many")
    if observed.tokens != expected.generated:
        return Difference(expected.positions, None, "token", "another number of tokens was chosen")
    return None
