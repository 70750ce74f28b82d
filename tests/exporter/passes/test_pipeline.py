"""The pipeline: it checks before the first pass and after each, and gives the plan we know."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest
from tests.tiny_checkpoint import Checkpoint, Shape

from bitexport.checkpoints.checkpoint import open_checkpoint
from bitexport.models import build_model
from bitexport.models.parts.options import Options
from bitexport.passes import pipeline
from bitexport.passes.pipeline import check_graph, check_plan, lower
from bitexport.passes.plan import Operand, Plan

WritePlan = Callable[..., Plan]

GOLDEN = Path(__file__).with_name("one_layer_plan.txt")


@pytest.fixture
def graph(tiny: Checkpoint) -> ir.Model:
    """Return a sound graph, before any pass."""
    return build_model(open_checkpoint(tiny.path), Options())[0]


def plan_text(plan: Plan) -> str:
    """Return a plan as lines: values with their slots, then ops with what they read and write."""
    lines = [
        f"{at:3} {value.name}: dtype {value.dtype}, {value.row_kind.name.lower()} x "
        f"{value.columns}, {value.role.name.lower()}, slot {value.slot}, fused {value.fused_slot}"
        for at, value in enumerate(plan.values)
    ]
    for at, op in enumerate(plan.ops):
        given = [plan.tensors[o.index] if o.is_tensor else f"%{o.index}" for o in op.inputs]
        made = ", ".join(f"%{output}" for output in op.outputs)
        words = " ".join(f"{word:x}" for word in op.attributes)
        fusion = f"  fusion {op.fusion} over {op.fusion_count}" if op.fusion else ""
        lines.append(f"{at:3} {made} = {op.op.name}({', '.join(given)}) [{words}]{fusion}")
    return "\n".join(lines) + "\n"


def test_the_plan_is_the_one_we_know(write: Callable[[Shape], Checkpoint]) -> None:
    """A change of the plan is a change of every file: if it is meant, replace the golden text."""
    checkpoint = write(Shape(layers=1))
    plan = lower(build_model(open_checkpoint(checkpoint.path), Options())[0], "p2r")
    assert plan_text(plan) == GOLDEN.read_text(encoding="utf-8")


def test_the_same_checkpoint_gives_the_same_plan(each: Checkpoint) -> None:
    first, second = (
        lower(build_model(open_checkpoint(each.path), Options())[0], "p2r") for _ in range(2)
    )
    assert first == second


def test_a_check_runs_before_the_first_pass_and_after_each(
    graph: ir.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs: list[object] = []
    plans: list[Plan] = []
    monkeypatch.setattr(pipeline, "check_graph", graphs.append)
    monkeypatch.setattr(pipeline, "check_plan", plans.append)
    lower(graph, "p2r")
    assert len(graphs) == 1 + len(pipeline.GRAPH_PASSES)
    assert len(plans) == 1 + len(pipeline.PLAN_PASSES)


# ---- what the checks find --------------------------------------------------------------------


def test_a_graph_with_another_type_is_found(graph: ir.Model) -> None:
    node = next(node for node in graph.graph if node.op_type == "Rescale")
    node.outputs[0].type = ir.TensorType(ir.DataType.INT32)
    with pytest.raises(AssertionError, match="has other types"):
        check_graph(graph)


def test_a_graph_that_reads_too_early_is_found(graph: ir.Model) -> None:
    first, second = list(graph.graph)[3:5]
    graph.graph.remove(first)
    graph.graph.insert_after(second, first)
    with pytest.raises(AssertionError, match="reads an unknown value"):
        check_graph(graph)


def test_a_graph_that_writes_twice_is_found(graph: ir.Model) -> None:
    first, second = list(graph.graph)[3:5]
    second.outputs[0].name = first.outputs[0].name
    with pytest.raises(AssertionError, match="a second time"):
        check_graph(graph)


def test_a_graph_without_its_output_is_found(graph: ir.Model) -> None:
    graph.graph.outputs.append(ir.Value(name="nowhere"))
    with pytest.raises(AssertionError, match="nothing writes the output `nowhere`"):
        check_graph(graph)


def test_a_plan_that_reads_too_early_is_found(plan_of: WritePlan) -> None:
    plan = plan_of("a = Relu x", "b = Relu a")
    with pytest.raises(AssertionError, match="Relu reads too early"):
        check_plan(dataclasses.replace(plan, ops=tuple(reversed(plan.ops))))


def test_a_plan_with_an_operand_that_does_not_exist_is_found(plan_of: WritePlan) -> None:
    plan = plan_of("a = RmsNorm x W")
    op = dataclasses.replace(plan.ops[0], inputs=(Operand(False, 0), Operand(True, 1)))
    with pytest.raises(AssertionError, match="an operand that does not exist"):
        check_plan(dataclasses.replace(plan, ops=(op,)))


def test_a_plan_with_a_value_that_is_never_made_is_found(plan_of: WritePlan) -> None:
    plan = plan_of("a = Relu x", "b = Relu a")
    with pytest.raises(AssertionError, match="a value is never made"):
        check_plan(dataclasses.replace(plan, ops=plan.ops[:1]))
