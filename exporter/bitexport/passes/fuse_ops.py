"""Mark the ops that the runtime may run as one.  The bits are the same; the passes are fewer."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping

from bitexport.passes.plan import Plan, Role

Reads = Mapping[int, set[tuple[int, int]]]


@dataclasses.dataclass(frozen=True)
class Fusion:
    """Ops that may run as one, in their order, and how each hands its value on."""

    names: tuple[str, ...]
    reads: tuple[frozenset[tuple[int, int]], ...]
    """Of each op but the last: the (op of the fusion, input) pairs that read what it makes."""
    inputs: int
    """Inputs of the last op."""
    one_head: bool = False
    """Whether the first op, a norm, must have a single head."""
    one_weight: bool = False
    """Whether the first two ops multiply with the same weights, which are not looked up."""


def _handed(*reads: tuple[int, int]) -> frozenset[tuple[int, int]]:
    return frozenset(reads)


# Fusion codes of targets/FORMAT.md, section 3.6.
FUSIONS: dict[int, Fusion] = {
    1: Fusion(("RmsNorm", "QuantizeRows"), (_handed((1, 0)),), 1, one_head=True),
    2: Fusion(("TernaryMatMul", "Rescale"), (_handed((1, 0)),), 3),
    3: Fusion(("DenseMatMul", "Rescale"), (_handed((1, 0)),), 3),
    4: Fusion(("Relu", "Mul", "Mul"), (_handed((1, 0), (1, 1)), _handed((2, 0))), 2),
    5: Fusion(("Silu", "Mul"), (_handed((1, 0)),), 2),
    6: Fusion(
        ("TernaryMatMul", "TernaryMatMul", "Rescale"),
        (_handed((2, 0)), _handed((2, 3))),
        4,
        one_weight=True,
    ),
    7: Fusion(
        ("DenseMatMul", "DenseMatMul", "Rescale"),
        (_handed((2, 0)), _handed((2, 3))),
        4,
        one_weight=True,
    ),
}
WEIGHT = 1
HEADS = 1
"""The place of RmsNorm's heads among its attributes."""


def fuse_ops(plan: Plan) -> Plan:
    """Give the first op of every run that matches a fusion its code and count."""
    reads = _reads(plan)
    ops = list(plan.ops)
    at = 0
    while at < len(ops):
        code = next((code for code, it in FUSIONS.items() if _matches(plan, reads, at, it)), 0)
        count = len(FUSIONS[code].names) if code else 0
        ops[at] = dataclasses.replace(ops[at], fusion=code, fusion_count=count)
        at += max(1, count)
    return dataclasses.replace(plan, ops=tuple(ops))


def fused_away(plan: Plan) -> set[int]:
    """Return the values that live only inside a fusion."""
    return {
        output
        for at, op in enumerate(plan.ops)
        for inner in plan.ops[at : at + max(0, op.fusion_count - 1)]
        for output in inner.outputs
    }


def _reads(plan: Plan) -> Reads:
    """Return the (op, input) pairs that read each value."""
    found: dict[int, set[tuple[int, int]]] = collections.defaultdict(set)
    for at, op in enumerate(plan.ops):
        for place, operand in enumerate(op.inputs):
            if not operand.is_tensor:
                found[operand.index].add((at, place))
    return found


def _matches(plan: Plan, reads: Reads, at: int, fusion: Fusion) -> bool:
    run = plan.ops[at : at + len(fusion.names)]
    if tuple(op.op.name for op in run) != fusion.names or len(run[-1].inputs) != fusion.inputs:
        return False
    if fusion.one_head and run[0].attributes[HEADS] != 1:
        return False
    if fusion.one_weight and (
        run[0].inputs[WEIGHT] != run[1].inputs[WEIGHT] or run[0].scratch_bytes
    ):
        return False
    rows = plan.values[run[-1].outputs[0]].row_kind
    for op, handed in zip(run, fusion.reads, strict=False):
        (made,) = op.outputs
        value = plan.values[made]
        if value.role is not Role.INTERNAL or value.row_kind is not rows:
            return False
        if reads.get(made) != {(at + offset, place) for offset, place in handed}:
            return False
    return True
