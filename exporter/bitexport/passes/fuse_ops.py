"""Mark the ops that the runtime may run as one.  The bits are the same; the passes are fewer."""

from __future__ import annotations

import dataclasses
import itertools

from bitexport.passes.plan import Operand, Plan, PlanOp, Role

# Fusion codes of targets/FORMAT.md, section 3.6.
FUSIONS: dict[int, tuple[str, ...]] = {
    1: ("RmsNorm", "QuantizeRows"),
    2: ("TernaryMatMul", "Rescale"),
    3: ("DenseMatMul", "Rescale"),
    4: ("Relu", "Mul", "Mul"),
}


def fuse_ops(plan: Plan) -> Plan:
    """Give the first op of every run that matches a fusion its code and count."""
    ops = list(plan.ops)
    at = 0
    while at < len(ops):
        code = next((c for c, names in FUSIONS.items() if _matches(plan, at, names)), 0)
        count = len(FUSIONS[code]) if code else 0
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


def _matches(plan: Plan, at: int, names: tuple[str, ...]) -> bool:
    run = plan.ops[at : at + len(names)]
    if tuple(op.op.name for op in run) != names:
        return False
    return all(
        _feeds_only(plan, first, second, at + offset + 1)
        for offset, (first, second) in enumerate(itertools.pairwise(run))
    )


def _feeds_only(plan: Plan, first: PlanOp, second: PlanOp, reader: int) -> bool:
    """Say whether the single output of the first op is read by the second and nobody else.

    The second reads it once, as its first operand; only the square of a Relu reads it twice.
    """
    if len(first.outputs) != 1:
        return False
    made = first.outputs[0]
    squares = (first.op.name, second.op.name) == ("Relu", "Mul")
    reads = [operand == Operand(False, made) for operand in second.inputs]
    if not reads[0] or any(reads[1:]) is not squares or plan.readers(made) != [reader]:
        return False
    same_rows = plan.values[made].row_kind is plan.values[second.outputs[0]].row_kind
    return plan.values[made].role is Role.INTERNAL and same_rows
