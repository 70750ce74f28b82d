"""Give every value a slot of the arena; values that never live together share one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from bitexport.passes.fuse_ops import fused_away
from bitexport.passes.plan import ATTENDS, Plan, Role, RowKind, aligned

SESSION_BYTES = 384


def plan_memory(plan: Plan) -> Plan:
    """Assign slots for the unfused plan and for the fused one."""
    slots = _assign(plan, {at: at for at in range(len(plan.ops))}, set())
    fused = _assign(plan, _fused_steps(plan), fused_away(plan))
    values = tuple(
        dataclasses.replace(value, slot=slots[at], fused_slot=fused.get(at))
        for at, value in enumerate(plan.values)
    )
    return dataclasses.replace(plan, values=values)


def _fused_steps(plan: Plan) -> dict[int, int]:
    """Return the step at which each op runs when a fusion is one step."""
    steps: dict[int, int] = {}
    for at, op in enumerate(plan.ops):
        for covered in range(at, at + max(1, op.fusion_count)):
            steps.setdefault(covered, at)
    return steps


def _lifetimes(plan: Plan, steps: Mapping[int, int]) -> list[tuple[int, int]]:
    """Return first and last step of every value, both included."""
    lives = [(-1, -1) for _ in plan.values]
    for at, op in enumerate(plan.ops):
        for output in op.outputs:
            if plan.values[output].role is not Role.STATE:
                lives[output] = (steps[at], steps[at])
    for at, op in enumerate(plan.ops):
        for operand in op.inputs:
            if not operand.is_tensor:
                first, last = lives[operand.index]
                lives[operand.index] = (first, max(last, steps[at]))
    end = len(plan.ops)
    return [
        (first, end if plan.values[at].role is Role.OUTPUT else last)
        for at, (first, last) in enumerate(lives)
    ]


def _assign(plan: Plan, steps: Mapping[int, int], absent: set[int]) -> dict[int, int]:
    """Scan values by the step that makes them; take the free slot that fits best."""
    lives = _lifetimes(plan, steps)
    flowing = [
        at
        for at, value in enumerate(plan.values)
        if value.role is not Role.STATE and at not in absent
    ]
    slots: dict[int, int] = {}
    ends: list[int] = []
    sizes: list[tuple[RowKind, int]] = []
    for at in sorted(flowing, key=lambda value: (lives[value][0], value)):
        value, (first, last) = plan.values[at], lives[at]
        need = (value.row_kind, value.row_bytes)
        free = [
            slot
            for slot, (kind, _) in enumerate(sizes)
            if ends[slot] < first and kind is value.row_kind
        ]
        if free:
            slot = min(free, key=lambda s: (sizes[s][1] < need[1], abs(sizes[s][1] - need[1])))
            sizes[slot] = max(sizes[slot], need)
            ends[slot] = last
        else:
            slot = len(sizes)
            sizes.append(need)
            ends.append(last)
        slots[at] = slot
    states = [at for at, value in enumerate(plan.values) if value.role is Role.STATE]
    return slots | {at: len(sizes) + offset for offset, at in enumerate(states)}


def arena_bytes(plan: Plan, rows: int, context: int, pointer_bytes: int) -> int:
    """Return what bitx_session_size() will ask for a fused session, at most 256 bytes more.

    The session's own record, a pointer-sized offset for each value, the slots, one score for each
    head and position, and the tables of one op (targets/runtime/src/session.c).
    """
    places = aligned(len(plan.values) * pointer_bytes)
    if plan.is_language_model:
        rows = min(rows, context)
    heads = max((op.attributes[0] for op in plan.ops if op.op.name in ATTENDS), default=0)
    scores = heads * aligned(4 * context)
    slots = slot_bytes(plan, rows, 1, context, fused=True)
    tables = max((op.scratch_bytes for op in plan.ops), default=0)
    return SESSION_BYTES + places + slots + scores + tables


def slot_bytes(plan: Plan, rows: int, kept: int, context: int, *, fused: bool) -> int:
    """Return the bytes of all slots together."""
    counts = {RowKind.CALL: rows, RowKind.KEPT: kept, RowKind.CONTEXT: context}
    sizes: dict[int, int] = {}
    for value in plan.values:
        slot = value.fused_slot if fused else value.slot
        if slot is not None:
            count = counts.get(value.row_kind, value.rows)
            sizes[slot] = max(sizes.get(slot, 0), count * value.row_bytes)
    return sum(sizes.values())


def position_bytes(element_bytes: int, layers: int, kv_heads: int, size: int) -> int:
    """Return what keys and values of a token take in the arena; codes of a byte have scales too."""
    scales = aligned(4 * kv_heads) if element_bytes == 1 else 0
    return 2 * layers * (aligned(kv_heads * size * element_bytes) + scales)
