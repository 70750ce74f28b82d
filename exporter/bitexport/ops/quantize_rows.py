"""QuantizeRows: int8 activations with one scale per token, as BitNet b1.58 was trained."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """X [..., columns] gives q of the same shape and scale [..., 1]."""
    shape = inputs[0].shape
    return Type(ir.DataType.INT8, shape), Type(ir.DataType.FLOAT, (*shape[:-1], 1))


def body(measure: str, numerator: float, least: int, most: int, x: str = "x") -> str:
    """Return the ops that make q and scale of x: scale = numerator / max(measure of |x|, 1e-5)."""
    return f"""
    last = Constant<value_ints = [-1]>()
    tiny = Constant<value_float = 0.00001>()
    numerator = Constant<value_float = {numerator}>()
    top = Constant<value_float = {most}.0>()
    bottom = Constant<value_float = {least}.0>()
    size = Abs({x})
    measured = {measure}<keepdims = 1>(size, last)
    bounded = Max(measured, tiny)
    scale = Div(numerator, bounded)
    scaled = Mul({x}, scale)
    rounded = Round(scaled)
    clipped = Clip(rounded, bottom, top)
    q = Cast<to = 3>(clipped)
    """


OP = Op(
    name="QuantizeRows",
    code=3,
    forms=(
        Form(
            op_type="QuantizeRows",
            summary="q = clip(rint(x * s), -128, 127) with s = 127 / max(max|x|, 1e-5) per row.",
            inputs={"x": "tensor(float)"},
            outputs={"q": "tensor(int8)", "scale": "tensor(float)"},
            infer=infer,
            body=body("ReduceMax", 127.0, -128, 127),
        ),
    ),
)
