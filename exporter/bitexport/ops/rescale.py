"""Rescale: exact integer sums become float32, in one specified way."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """Sum [..., n], scale [..., 1], weight_scale [1] or [n] (, low_sum as sum) give [..., n]."""
    return (Type(ir.DataType.FLOAT, inputs[0].shape),)


# Max of one value is that value: where weight_scale is 1, onnxruntime divides sums by the scale,
# but not across it.
OP = Op(
    name="Rescale",
    code=6,
    forms=(
        Form(
            op_type="Rescale",
            summary="y = float(sum) * (weight_scale / scale).",
            inputs={
                "sum": "tensor(int32)",
                "scale": "tensor(float)",
                "weight_scale": "tensor(float)",
            },
            outputs={"y": "tensor(float)"},
            infer=infer,
            body="""
            quotient = Div(weight_scale, scale)
            factor = Max(quotient)
            wide = Cast<to = 1>(sum)
            y = Mul(wide, factor)
            """,
        ),
        Form(
            op_type="RescaleInt16",
            summary="y = (float(sum) * 256 + float(low_sum)) * (weight_scale / scale).",
            inputs={
                "sum": "tensor(int32)",
                "scale": "tensor(float)",
                "weight_scale": "tensor(float)",
                "low_sum": "tensor(int32)",
            },
            outputs={"y": "tensor(float)"},
            infer=infer,
            body="""
            step = Constant<value_float = 256.0>()
            quotient = Div(weight_scale, scale)
            factor = Max(quotient)
            high = Cast<to = 1>(sum)
            low = Cast<to = 1>(low_sum)
            raised = Mul(high, step)
            wide = Add(raised, low)
            y = Mul(wide, factor)
            """,
        ),
    ),
)
