"""Silu: x times its logistic function, the gate of Llama-shaped models."""

from __future__ import annotations

from collections.abc import Sequence

from bitexport.ops import Attributes, Form, Op, Type
from bitexport.ops._floats import exponential


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """X gives the same shape."""
    return (inputs[0],)


OP = Op(
    name="Silu",
    code=13,
    forms=(
        Form(
            op_type="Silu",
            summary="y = x / (1 + exp(0 - x)).",
            inputs={"x": "tensor(float)"},
            outputs={"y": "tensor(float)"},
            infer=infer,
            body=f"""
            zero = Constant<value_float = 0.0>()
            one = Constant<value_float = 1.0>()
            opposite = Sub(zero, x)
            {exponential("opposite", "power")}
            divisor = Add(one, power)
            y = Div(x, divisor)
            """,
        ),
    ),
)
