"""keep_rows: a value is computed for the last rows exactly when only the logits need it."""

from __future__ import annotations

from collections.abc import Callable

from bitexport.passes.keep_rows import keep_rows
from bitexport.passes.plan import Plan, Role, RowKind

WritePlan = Callable[..., Plan]


def needed_by_a_state(plan: Plan) -> set[int]:
    """Walk backwards from every state: these values need a row for every token."""
    found = {at for at, value in enumerate(plan.values) if value.role is Role.STATE}
    todo = list(found)
    while todo:
        wanted = todo.pop()
        for op in plan.ops:
            if wanted in op.outputs:
                before = {o.index for o in op.inputs if not o.is_tensor} - found
                found |= before
                todo += before
    return found


def test_a_value_is_kept_exactly_when_no_state_needs_it(lowered: Plan) -> None:
    needed = needed_by_a_state(lowered)
    for at, value in enumerate(lowered.values):
        if value.role in (Role.INTERNAL, Role.OUTPUT):
            expected = RowKind.CALL if at in needed else RowKind.KEPT
            # Two outputs of one op have the same rows.
            twins = {o for op in lowered.ops if at in op.outputs for o in op.outputs}
            if twins & needed:
                expected = RowKind.CALL
            assert value.row_kind is expected, value.name


def test_the_last_layer_computes_keys_for_all_and_queries_for_the_last(lowered: Plan) -> None:
    kinds = {value.name: value.row_kind for value in lowered.values}
    assert kinds["model.layers.1.self_attn.k_proj.output"] is RowKind.CALL
    assert kinds["model.layers.1.self_attn.q_proj.output"] is RowKind.KEPT
    assert kinds["model.layers.0.self_attn.q_proj.output"] is RowKind.CALL
    assert kinds["logits"] is RowKind.KEPT


def test_inputs_and_states_stay_as_they_are(lowered: Plan) -> None:
    for value in lowered.values:
        if value.role is Role.STATE:
            assert value.row_kind is RowKind.CONTEXT
        if value.role is Role.INPUT:
            assert value.row_kind is RowKind.CALL


def test_three_outputs_of_one_op_are_kept_together_or_not_at_all(plan_of: WritePlan) -> None:
    after = ("t = TernaryMatMul h W", "u = TernaryMatMul l W", "y = Rescale t s F u")
    state = ("c = AppendCache c x", "a = Attend x c c")
    quantize = "h l s = QuantizeRowsInt16 a"
    plan = keep_rows(plan_of(*state, quantize, *after, outputs="y", states="c"))
    kinds = {value.name: value.row_kind for value in plan.values}
    assert {kinds[name] for name in "ahlstuy"} == {RowKind.KEPT}
    plan = keep_rows(
        plan_of(*state, quantize, "d = AppendCache d l", *after, outputs="y", states="c d")
    )
    kinds = {value.name: value.row_kind for value in plan.values}
    assert {kinds[name] for name in "ahls"} == {RowKind.CALL}
    assert {kinds[name] for name in "tuy"} == {RowKind.KEPT}


def test_a_network_keeps_every_row(plan_of: WritePlan) -> None:
    plan = plan_of("h = RmsNorm x W", "y = Relu h", outputs="y")
    assert keep_rows(plan) == plan


def test_an_output_that_a_state_needs_too_is_computed_for_every_row(plan_of: WritePlan) -> None:
    plan = keep_rows(
        plan_of("h = RmsNorm x W", "c = AppendCache c h", "y = Attend h c c",
                outputs="y", states="c")
    )  # fmt: skip
    kinds = {value.name: value.row_kind for value in plan.values}
    assert kinds == {
        "x": RowKind.CALL, "h": RowKind.CALL, "c": RowKind.CONTEXT, "y": RowKind.KEPT,
    }  # fmt: skip
