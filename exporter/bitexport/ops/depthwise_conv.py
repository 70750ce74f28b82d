"""DepthwiseConv: every channel of a picture by a window of its own, summed exactly in int32."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Form, Op, Type
from bitexport.ops._windows import ATTRIBUTES, PATCHES, channels_of, moved, words


def infer(inputs: Sequence[Type], attributes: Attributes) -> tuple[Type, ...]:
    """X [1, positions, c], weight [kh * kw, c] give [1, steps, c]."""
    return moved(inputs[0], attributes, channels_of(inputs), ir.DataType.INT32)


OP = Op(
    name="DepthwiseConv",
    code=27,
    attributes=ATTRIBUTES,
    words=words,
    forms=(
        Form(
            op_type="DepthwiseConv",
            summary="y = the sum over the window of x * weight, channel by channel.",
            inputs={"x": "tensor(int8)", "weight": "tensor(int8)"},
            outputs={"y": "tensor(int32)"},
            infer=infer,
            body=f"""
            {PATCHES}
            numbers = Cast<to = 6>(rows)
            apart_shape = Concat<axis = 0>(one, last, taps, channels)
            apart = Reshape(numbers, apart_shape)
            factors = Cast<to = 6>(weight)
            products = Mul(apart, factors)
            y = ReduceSum<keepdims = 0>(products, two)
            """,
        ),
    ),
)
