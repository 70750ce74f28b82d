"""Mul: the standard ONNX op; the product, element by element."""

from __future__ import annotations

from collections.abc import Sequence

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """Take a and b of one shape, or b [columns]; give the shape of a."""
    return (inputs[0],)


OP = Op(
    name="Mul",
    code=12,
    domain="",
    forms=(
        Form(
            op_type="Mul",
            summary="As ONNX.",
            inputs={"a": "tensor(float)", "b": "tensor(float)"},
            outputs={"y": "tensor(float)"},
            infer=infer,
        ),
    ),
)
