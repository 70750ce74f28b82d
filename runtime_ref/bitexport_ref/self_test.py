"""Computes the self-test that a .bitx carries (FORMAT.md, section 3.8)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from bitexport_ref.digests import START, extend
from bitexport_ref.errors import BadOperand
from bitexport_ref.evaluator import ReferenceModel, Traced, Visit, greedy


@dataclasses.dataclass(frozen=True)
class Expected:
    """What every device must compute: tokens, and chains of 32 bytes each, in plan order."""

    prompt: tuple[int, ...]
    generated: tuple[int, ...]
    logits_chain: bytes
    chains: tuple[bytes, ...]


def compute(
    model: ReferenceModel, prompt: Sequence[int], generated: int, *, visit: Visit | None = None
) -> Expected:
    """Run a prompt, then the greedy continuation of `generated` tokens, tracing every op.

    Positions 0 … P + G - 2 are computed: the last token chosen is not consumed.  `visit` is given
    every op output of each of the G runs as it is made.
    """
    if not prompt or generated < 1:
        message = "a self-test needs a prompt and at least one generated token"
        raise BadOperand(message)
    session = model.session()
    chains: dict[str, bytes] = {name: START for name, _ in model.plan}
    logits_chain = START

    def extend_chain(traced: Traced) -> None:
        chains[traced.name] = extend(chains[traced.name], traced.rows)
        if visit is not None:
            visit(traced)

    chosen: list[int] = []
    tokens = np.array(prompt, np.int32)
    while len(chosen) < generated:
        outputs = session.run(tokens, visit=extend_chain)
        logits_chain = extend(logits_chain, outputs.logits)
        chosen.append(greedy(outputs.logits[-1]))
        tokens = np.array(chosen[-1:], np.int32)
    return Expected(tuple(prompt), tuple(chosen), logits_chain, tuple(chains.values()))
