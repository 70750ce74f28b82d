"""The plan: what the runtime executes, in the terms of targets/FORMAT.md, sections 3.5 to 3.7."""

from __future__ import annotations

import dataclasses
import enum
import math

import onnx_ir as ir

from bitexport.layouts import LOOKUPS
from bitexport.ops import Op, attributes_of, forms, type_of


class RowKind(enum.IntEnum):
    """How many rows a value has."""

    FIXED = 0
    CALL = 1
    KEPT = 2
    CONTEXT = 3


class Role(enum.IntEnum):
    """What a value is to the caller."""

    INTERNAL = 0
    INPUT = 1
    OUTPUT = 2
    STATE = 3


DTYPES = {
    ir.DataType.FLOAT: 1,
    ir.DataType.FLOAT16: 2,
    ir.DataType.BFLOAT16: 3,
    ir.DataType.INT8: 4,
    ir.DataType.UINT8: 5,
    ir.DataType.INT32: 6,
    ir.DataType.INT64: 6,  # tokens: the plan takes them as s32
}
DTYPE_BYTES = {1: 4, 2: 2, 3: 2, 4: 1, 5: 1, 6: 4}
ALIGNMENT = 64
APPENDS = ("AppendCache", "AppendCacheInt8")
"""Ops that write states in place: their first inputs are their outputs."""
ATTENDS = ("Attend", "AttendInt8")


def aligned(size: int) -> int:
    """Round up to the alignment of rows, sections and tensors."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanValue:
    """A matrix that flows between ops.  Slots are given by plan_memory."""

    name: str
    dtype: int
    row_kind: RowKind
    rows: int
    columns: int
    role: Role
    slot: int = 0
    fused_slot: int | None = None

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in the arena."""
        return aligned(self.columns * DTYPE_BYTES[self.dtype])


@dataclasses.dataclass(frozen=True)
class Operand:
    """A value or a tensor, by its index."""

    is_tensor: bool
    index: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanOp:
    """One op, with the fusion that starts at it."""

    op: Op
    inputs: tuple[Operand, ...]
    outputs: tuple[int, ...]
    attributes: tuple[int, ...]
    scratch_bytes: int = 0
    """Of the tables in which its kernels look sums up."""
    fusion: int = 0
    fusion_count: int = 0


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything the runtime needs but the bytes of the tensors."""

    values: tuple[PlanValue, ...]
    ops: tuple[PlanOp, ...]
    tensors: tuple[str, ...]

    @property
    def is_language_model(self) -> bool:
        """A plan with states is a sequence model."""
        return any(value.role is Role.STATE for value in self.values)

    def readers(self, value: int) -> list[int]:
        """Return the ops that read a value, by index."""
        wanted = Operand(False, value)
        return [at for at, op in enumerate(self.ops) if wanted in op.inputs]


def make_plan(model: ir.Model) -> Plan:
    """Return the plan of a graph, one record per node that computes."""
    graph = model.graph
    outputs = {value.name for value in graph.outputs}
    tensors = tuple(sorted(graph.initializers))
    values: list[PlanValue] = []
    index: dict[str, int] = {}

    def add(value: ir.Value, role: Role) -> None:
        assert value.name is not None
        index[value.name] = len(values)
        values.append(_plan_value(value, role))

    for value in graph.inputs:
        is_state = any(node.op_type in APPENDS for node, _ in value.uses())
        add(value, Role.STATE if is_state else Role.INPUT)
    ops: list[PlanOp] = []
    for node in graph:
        if (node.domain, node.op_type) not in forms():
            assert node.op_type == "Shape", f"the plan has no op `{node.op_type}`"
            continue
        op, form = forms()[node.domain, node.op_type]
        for place, value in enumerate(node.outputs):
            assert value.name is not None
            if node.op_type in APPENDS:
                past = node.inputs[place]
                assert past is not None
                index[value.name] = index[str(past.name)]
            else:
                add(value, Role.OUTPUT if value.name in outputs else Role.INTERNAL)
        operands = [
            Operand(value.name in graph.initializers, tensors.index(value.name))
            if value.name in graph.initializers
            else Operand(False, index[str(value.name)])
            for name, value in zip(form.inputs, node.inputs, strict=True)
            if value is not None and name not in op.bookkeeping
        ]
        made = tuple(index[str(value.name)] for value in node.outputs)
        given = attributes_of(node)
        lookup = LOOKUPS.get(form.op_type.removeprefix("TernaryMatMul"))
        ops.append(
            PlanOp(
                op=op, inputs=tuple(operands), outputs=made, attributes=op.attribute_words(given),
                scratch_bytes=lookup.scratch_bytes(int(given["k"])) if lookup else 0,
            )
        )  # fmt: skip
    return Plan(tuple(values), tuple(ops), tensors)


def _plan_value(value: ir.Value, role: Role) -> PlanValue:
    kind = type_of(value)
    if role is Role.STATE:
        _, heads, _, size = kind.shape
        assert isinstance(heads, int)
        assert isinstance(size, int)
        rows, row_kind, columns = 0, RowKind.CONTEXT, heads * size
    else:
        tokens = kind.dtype is ir.DataType.INT64
        leading = kind.shape if tokens else kind.shape[:-1]
        last = 1 if tokens else kind.shape[-1]
        assert isinstance(last, int), f"`{value.name}` has no fixed number of columns"
        columns = last
        fixed = [dim for dim in leading if isinstance(dim, int)]
        if leading and len(fixed) == len(leading):
            rows, row_kind = math.prod(fixed), RowKind.FIXED
        else:
            rows, row_kind = 0, RowKind.CALL
    return PlanValue(
        name=str(value.name), dtype=DTYPES[kind.dtype], row_kind=row_kind, rows=rows,
        columns=columns, role=role,
    )  # fmt: skip
