"""RmsNorm: x / sqrt(mean(x^2) + epsilon) * weight."""

from __future__ import annotations

from collections.abc import Sequence

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """X [..., columns], weight [columns] give the shape of x."""
    return (inputs[0],)


OP = Op(
    name="RmsNorm",
    code=2,
    attributes={"epsilon": float},
    forms=(
        Form(
            op_type="RmsNorm",
            summary="Root mean square normalisation with an eight-lane sum.",
            inputs={"x": "tensor(float)", "weight": "tensor(float)"},
            outputs={"y": "tensor(float)"},
            infer=infer,
            body="""
            last = Constant<value_ints = [-1]>()
            one = Constant<value_float = 1.0>()
            eps = Constant<value_float: float = @epsilon>()
            square = Mul(x, x)
            mean = ReduceMean<keepdims = 1>(square, last)
            shifted = Add(mean, eps)
            root = Sqrt(shifted)
            factor = Div(one, root)
            normal = Mul(x, factor)
            y = Mul(normal, weight)
            """,
        ),
    ),
)
