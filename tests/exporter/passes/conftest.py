"""Plans of a few lines, and the plans of the checkpoints."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.mixed_network import build
from tests.tiny_checkpoint import Checkpoint

from bitexport.checkpoints.checkpoint import open_checkpoint
from bitexport.models import build_model
from bitexport.models.parts.options import Options
from bitexport.ops import all_ops
from bitexport.passes.pipeline import lower
from bitexport.passes.plan import Operand, Plan, PlanOp, PlanValue, Role, RowKind

WritePlan = Callable[..., Plan]


def write_plan(
    *lines: str, outputs: str = "", states: str = "", kept: str = "", heads: int = 1
) -> Plan:
    """Read a plan from lines like `q s = QuantizeRows h`; names in capitals are tensors.

    What nothing writes is an input.  A state is written by the AppendCache that reads it.
    """
    values: dict[str, PlanValue] = {}
    tensors: list[str] = []
    ops: list[PlanOp] = []

    def value_of(name: str, role: Role) -> int:
        if name not in values:
            own = Role.STATE if name in states.split() else role
            kind = {Role.STATE: RowKind.CONTEXT}.get(own, RowKind.CALL)
            values[name] = PlanValue(
                name=name, dtype=1, rows=0, columns=8, role=own,
                row_kind=RowKind.KEPT if name in kept.split() else kind,
            )  # fmt: skip
        return list(values).index(name)

    for line in lines:
        made, _, rest = line.partition(" = ")
        op, *given = rest.split()
        operands = []
        for name in given:
            if name.isupper():
                tensors += [name] if name not in tensors else []
                operands.append(Operand(True, tensors.index(name)))
            else:
                operands.append(Operand(False, value_of(name, Role.INPUT)))
        written = tuple(
            value_of(name, Role.OUTPUT if name in outputs.split() else Role.INTERNAL)
            for name in made.split()
        )
        words = (0, heads if op == "RmsNorm" else 0, 0, 0)
        ops.append(
            PlanOp(op=all_ops()[op], inputs=tuple(operands), outputs=written, attributes=words)
        )
    return Plan(tuple(values.values()), tuple(ops), tuple(tensors))


@pytest.fixture(scope="session")
def plan_of() -> WritePlan:
    """Return `write_plan`."""
    return write_plan


@pytest.fixture(params=["bf16", "q8"])
def lowered(request: pytest.FixtureRequest, each: Checkpoint) -> Plan:
    """Return the finished plan of each checkpoint, with each kind of head."""
    model, _ = build_model(open_checkpoint(each.path), Options(embedding=request.param))
    return lower(model, "p2r")


@pytest.fixture(scope="session")
def mixed() -> Plan:
    """Return the finished plan of a network with every kind of layer."""
    return lower(build(), "p2r")
