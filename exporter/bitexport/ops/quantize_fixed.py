"""QuantizeFixed: int8 codes with a scale that is part of the plan."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """X gives codes of the same shape."""
    return (Type(ir.DataType.INT8, inputs[0].shape),)


OP = Op(
    name="QuantizeFixed",
    code=23,
    attributes={"scale": float, "least": float, "most": float},
    forms=(
        Form(
            op_type="QuantizeFixed",
            summary="q = rint(x / scale clipped to [least, most]).",
            inputs={"x": "tensor(float)"},
            outputs={"q": "tensor(int8)"},
            infer=infer,
            body="""
            scale = Constant<value_float: float = @scale>()
            least = Constant<value_float: float = @least>()
            most = Constant<value_float: float = @most>()
            scaled = Div(x, scale)
            clipped = Clip(scaled, least, most)
            rounded = Round(clipped)
            q = Cast<to = 3>(rounded)
            """,
        ),
    ),
)
