"""Relu: the standard ONNX op; rectified, element by element."""

from __future__ import annotations

from collections.abc import Sequence

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """X gives the same shape."""
    return (inputs[0],)


OP = Op(
    name="Relu",
    code=10,
    domain="",
    forms=(
        Form(
            op_type="Relu",
            summary="As ONNX.",
            inputs={"x": "tensor(float)"},
            outputs={"y": "tensor(float)"},
            infer=infer,
            portable="""
            zero = Constant<value_float = 0.0>()
            above = Greater(x, zero)
            y = Where(above, x, zero)
            """,
        ),
    ),
)
