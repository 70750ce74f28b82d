"""Softmax: the standard ONNX op over the last axis."""

from __future__ import annotations

from collections.abc import Sequence

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """X gives the same shape."""
    return (inputs[0],)


OP = Op(
    name="Softmax",
    code=30,
    domain="",
    forms=(
        Form(
            op_type="Softmax",
            summary="As ONNX.",
            inputs={"x": "tensor(float)"},
            outputs={"y": "tensor(float)"},
            infer=infer,
        ),
    ),
)
