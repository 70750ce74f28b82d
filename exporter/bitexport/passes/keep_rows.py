"""Compute only the last rows where nothing else is asked for."""

from __future__ import annotations

import dataclasses

from bitexport.passes.plan import Plan, Role, RowKind


def keep_rows(plan: Plan) -> Plan:
    """Mark values that only the logits depend on: prefill needs them for the last token alone.

    Keys and values of every token go into the cache; what is computed from them on the way to the
    logits, in the last layer, does not.
    """
    if not plan.is_language_model:
        return plan
    kept: set[int] = set()
    for at in reversed(range(len(plan.ops))):
        op = plan.ops[at]
        wanted = [plan.values[output] for output in op.outputs]
        if all(
            value.role is Role.OUTPUT
            or (value.role is Role.INTERNAL and set(plan.readers(output)) <= kept)
            for value, output in zip(wanted, op.outputs, strict=True)
        ):
            kept.add(at)
    values = list(plan.values)
    for at in kept:
        for output in plan.ops[at].outputs:
            values[output] = dataclasses.replace(values[output], row_kind=RowKind.KEPT)
    return dataclasses.replace(plan, values=tuple(values))
