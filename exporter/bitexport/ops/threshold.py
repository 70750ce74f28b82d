"""Threshold: codes that say how many thresholds of its column a number reaches."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """X [..., n], levels [l, 1] or [l, n] give codes [..., n]."""
    return (Type(ir.DataType.INT8, inputs[0].shape),)


def _form(suffix: str, dtype: str) -> Form:
    return Form(
        op_type=f"Threshold{suffix}",
        summary=f"q = start + step * (how many levels are <= x), x being {dtype}.",
        inputs={"x": f"tensor({dtype})", "levels": f"tensor({dtype})"},
        outputs={"q": "tensor(int8)"},
        infer=infer,
        body="""
        before = Constant<value_ints = [-2]>()
        apart = Unsqueeze(x, before)
        reaches = GreaterOrEqual(apart, levels)
        each = Cast<to = 6>(reaches)
        reached = ReduceSum<keepdims = 0>(each, before)
        step_wide = Constant<value_int: int = @step>()
        start_wide = Constant<value_int: int = @start>()
        step = Cast<to = 6>(step_wide)
        start = Cast<to = 6>(start_wide)
        steps = Mul(reached, step)
        code = Add(steps, start)
        q = Cast<to = 3>(code)
        """,
    )


OP = Op(
    name="Threshold",
    code=22,
    attributes={"start": int, "step": int},
    forms=(_form("", "float"), _form("S32", "int32")),
)
