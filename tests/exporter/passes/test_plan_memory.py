"""plan_memory: no two values that live at one time share a slot, fused or unfused."""

from __future__ import annotations

import collections
from collections.abc import Callable

import numpy as np
import pytest

from bitexport.layouts import LOOKUPS
from bitexport.passes.fuse_ops import fuse_ops, fused_away
from bitexport.passes.plan import Plan, Role, RowKind
from bitexport.passes.plan_memory import plan_memory, slot_bytes

WritePlan = Callable[..., Plan]


def live_sets(plan: Plan, *, fused: bool) -> list[set[int]]:
    """Return which values are alive at every step, by asking each of them at each step."""
    steps: list[list[int]] = []
    at = 0
    while at < len(plan.ops):
        count = max(1, plan.ops[at].fusion_count) if fused else 1
        steps.append(list(range(at, at + count)))
        at += count
    absent = fused_away(plan) if fused else set()
    made: dict[int, int] = {}
    read: dict[int, int] = {}
    for number, ops in enumerate(steps):
        for op in (plan.ops[index] for index in ops):
            for output in op.outputs:
                made.setdefault(output, number)
                read.setdefault(output, number)
            for operand in op.inputs:
                if not operand.is_tensor:
                    made.setdefault(operand.index, -1)
                    read[operand.index] = number
    for index, value in enumerate(plan.values):
        if value.role is Role.INPUT:
            made[index] = -1
        if value.role is Role.OUTPUT:
            read[index] = len(steps)
    flowing = [i for i, v in enumerate(plan.values) if v.role is not Role.STATE]
    return [
        {i for i in flowing if i not in absent and made[i] <= step <= read[i]}
        for step in range(len(steps))
    ]


def check_slots(plan: Plan) -> None:
    """Check a finished plan against the live sets, R16 and R23 of FORMAT.md."""
    for fused in (False, True):
        slots = [value.fused_slot if fused else value.slot for value in plan.values]
        absent = fused_away(plan) if fused else set()
        assert {i for i, slot in enumerate(slots) if slot is None} == absent
        counts = collections.Counter(slot for slot in slots if slot is not None)
        assert set(counts) == set(range(len(counts))), "slots are numbered without a hole"
        for slot, value in zip(slots, plan.values, strict=True):
            if slot is not None and value.role is Role.STATE:
                assert counts[slot] == 1, f"`{value.name}` shares its slot"
        for step, alive in enumerate(live_sets(plan, fused=fused)):
            taken = [slots[i] for i in alive]
            assert len(set(taken)) == len(taken), f"a slot is taken twice at step {step}"


def test_no_two_live_values_of_a_model_share_a_slot(lowered: Plan) -> None:
    check_slots(lowered)


def test_no_two_live_values_of_a_mixed_network_share_a_slot(mixed: Plan) -> None:
    check_slots(mixed)


@pytest.mark.parametrize("seed", range(60))
def test_no_two_live_values_of_a_random_plan_share_a_slot(seed: int, plan_of: WritePlan) -> None:
    rng = np.random.default_rng(seed)
    names, lines = ["x0", "x1"], []
    for number in range(int(rng.integers(1, 40))):
        pick = [str(rng.choice(names[-6:] if rng.random() < 0.8 else names)) for _ in range(2)]
        new = f"v{number}"
        kind = rng.choice(["norm", "add", "relu2", "ternary", "state", "silu", "int16"])
        if kind == "norm":
            lines += [f"{new} = RmsNorm {pick[0]} W", f"{new}q {new}s = QuantizeRows {new}"]
            names += [new, f"{new}q", f"{new}s"]
        elif kind == "relu2":
            lines += [f"{new}r = Relu {pick[0]}", f"{new}m = Mul {new}r {new}r",
                      f"{new} = Mul {new}m {pick[1]}"]  # fmt: skip
            names += [f"{new}r", new] if rng.random() < 0.2 else [new]
        elif kind == "ternary":
            lines += [f"{new}t = TernaryMatMul {pick[0]} W", f"{new} = Rescale {new}t {pick[1]} F"]
            names.append(new)
        elif kind == "silu":
            lines += [f"{new}m = Silu {pick[0]}", f"{new} = Mul {new}m {pick[1]}"]
            names += [f"{new}m", new] if rng.random() < 0.2 else [new]
        elif kind == "int16":
            lines += [f"{new}h {new}l {new}s = QuantizeRowsInt16 {pick[0]}",
                      f"{new}t = TernaryMatMul {new}h W", f"{new}u = TernaryMatMul {new}l W",
                      f"{new} = Rescale {new}t {new}s F {new}u"]  # fmt: skip
            names += [f"{new}l", f"{new}s", f"{new}u"] if rng.random() < 0.2 else []
            names.append(new)
        elif kind == "state":
            lines.append(f"c{number} = AppendCache c{number} {pick[0]}")
        else:
            lines.append(f"{new} = Add {pick[0]} {pick[1]}")
            names.append(new)
    states = " ".join(f"c{number}" for number in range(40))
    outputs = " ".join(rng.choice(names[2:] or ["none"], 2))
    kept = " ".join(rng.choice(names[2:] or ["none"], 5))
    check_slots(plan_memory(fuse_ops(plan_of(*lines, outputs=outputs, states=states, kept=kept))))


def test_values_share_slots_where_they_can(plan_of: WritePlan) -> None:
    plan = plan_memory(plan_of("a = Relu x", "b = Relu a", "c = Relu b", "d = Relu c", outputs="d"))
    assert [value.slot for value in plan.values] == [0, 1, 0, 1, 0]


def test_values_of_other_row_kinds_do_not_share(lowered: Plan) -> None:
    """Their sizes depend on the call, so a shared slot would be as large as both."""
    for field in ("slot", "fused_slot"):
        kinds = {(getattr(value, field), value.row_kind) for value in lowered.values}
        slots = [slot for slot, _ in kinds if slot is not None]
        assert len(set(slots)) == len(slots)


def test_slots_take_the_largest_of_their_values(plan_of: WritePlan) -> None:
    plan = plan_memory(plan_of("a = Relu x", "b = Relu a", outputs="b"))
    row = 64  # eight floats, rounded up to a line
    assert slot_bytes(plan, 3, 1, 100, fused=False) == 2 * 3 * row


def test_fusion_never_needs_more_memory(lowered: Plan) -> None:
    for rows in (1, 7, 64):
        fused, unfused = (slot_bytes(lowered, rows, 1, 64, fused=f) for f in (True, False))
        assert fused <= unfused


def test_only_the_state_grows_with_the_context(lowered: Plan) -> None:
    state = sum(v.row_bytes for v in lowered.values if v.row_kind is RowKind.CONTEXT)
    small, large = (slot_bytes(lowered, 1, 1, context, fused=True) for context in (10, 11))
    assert large - small == state


@pytest.mark.parametrize(
    ("k", "size"),
    [(1, 8 * 512), (24, 8 * 512), (25, 8 * 1024), (384, 65536), (2560, 65536), (6912, 147456)],
)
def test_tables_of_p2b_take_a_row_or_eight_pieces_of_rows(k: int, size: int) -> None:
    assert LOOKUPS["P2B"].scratch_bytes(k) == size
