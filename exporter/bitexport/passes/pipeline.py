"""The order in which a model is lowered.  Read top to bottom, this is the compiler."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from bitexport.ops import attributes_of, forms, type_of
from bitexport.passes.choose_layouts import choose_layouts
from bitexport.passes.fuse_ops import fuse_ops
from bitexport.passes.keep_rows import keep_rows
from bitexport.passes.plan import Plan, Role, make_plan
from bitexport.passes.plan_memory import plan_memory

GRAPH_PASSES: tuple[Callable[[ir.Model, str], None], ...] = (
    choose_layouts,  # every ternary matrix, for the target's kernels
)
PLAN_PASSES: tuple[Callable[[Plan], Plan], ...] = (
    keep_rows,  # what only the logits need is computed for the last token
    fuse_ops,  # runs of ops that one loop can do
    plan_memory,  # every value gets a slot of the arena
)


def lower(model: ir.Model, layout: str) -> Plan:
    """Run every pass; check the graph and the plan before the first and after each."""
    check_graph(model)
    for graph_pass in GRAPH_PASSES:
        graph_pass(model, layout)
        check_graph(model)
    plan = make_plan(model)
    check_plan(plan)
    for plan_pass in PLAN_PASSES:
        plan = plan_pass(plan)
        check_plan(plan)
    return plan


def check_graph(model: ir.Model) -> None:
    """Every value is defined once before it is read, and has the type that its op gives it."""
    graph = model.graph
    known = {value.name for value in graph.inputs} | set(graph.initializers)
    for node in graph:
        for value in node.inputs:
            assert value is not None, f"{node.name} lacks an input"
            assert value.name in known, f"{node.name} reads an unknown value"
        if (node.domain, node.op_type) in forms():
            _, form = forms()[node.domain, node.op_type]
            inputs = [type_of(v) for v in node.inputs if v is not None]
            given = form.infer(inputs, attributes_of(node))
            assert given == tuple(map(type_of, node.outputs)), f"{node.name} has other types"
        for value in node.outputs:
            assert value.name not in known, f"{node.name} writes `{value.name}` a second time"
            known.add(value.name)
    for value in graph.outputs:
        assert value.name in known, f"nothing writes the output `{value.name}`"


def check_plan(plan: Plan) -> None:
    """Operands exist, and every value but inputs and states is made before it is read."""
    made = {at for at, v in enumerate(plan.values) if v.role in (Role.INPUT, Role.STATE)}
    for op in plan.ops:
        for operand in op.inputs:
            limit = len(plan.tensors) if operand.is_tensor else len(plan.values)
            assert operand.index < limit, f"{op.op.name} has an operand that does not exist"
            assert operand.is_tensor or operand.index in made, f"{op.op.name} reads too early"
        made.update(op.outputs)
    assert made == set(range(len(plan.values))), "a value is never made"
