"""QuantizeRowsInt16: activations as integers of two bytes, for weights trained without any."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """X [..., columns] gives high and low of the same shape and scale [..., 1]."""
    shape = inputs[0].shape
    half = Type(ir.DataType.INT8, shape)
    return half, half, Type(ir.DataType.FLOAT, (*shape[:-1], 1))


OP = Op(
    name="QuantizeRowsInt16",
    code=15,
    forms=(
        Form(
            op_type="QuantizeRowsInt16",
            summary="256 * high + low = clip(rint(x * s), -32512, 32512), "
            "s = 32512 / max(max|x|, 1e-5) per row.",
            inputs={"x": "tensor(float)"},
            outputs={"high": "tensor(int8)", "low": "tensor(int8)", "scale": "tensor(float)"},
            infer=infer,
            body="""
            last = Constant<value_ints = [-1]>()
            tiny = Constant<value_float = 0.00001>()
            top = Constant<value_float = 32512.0>()
            bottom = Constant<value_float = -32512.0>()
            half = Constant<value_float = 128.0>()
            step = Constant<value_float = 256.0>()
            size = Abs(x)
            largest = ReduceMax<keepdims = 1>(size, last)
            bounded = Max(largest, tiny)
            scale = Div(top, bounded)
            scaled = Mul(x, scale)
            rounded = Round(scaled)
            clipped = Clip(rounded, bottom, top)
            shifted = Add(clipped, half)
            steps = Div(shifted, step)
            above = Floor(steps)
            of_high = Mul(above, step)
            below = Sub(clipped, of_high)
            high = Cast<to = 3>(above)
            low = Cast<to = 3>(below)
            """,
        ),
    ),
)
