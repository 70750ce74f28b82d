"""Affine: numbers, integers or not, times a factor of their column, plus an offset."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """X [..., n], factor [1] or [n], offset [1] or [n] give [..., n]."""
    return (Type(ir.DataType.FLOAT, inputs[0].shape),)


def _form(suffix: str, dtype: str) -> Form:
    return Form(
        op_type=f"Affine{suffix}",
        summary=f"y = float(x) * factor + offset, x being {dtype}.",
        inputs={"x": f"tensor({dtype})", "factor": "tensor(float)", "offset": "tensor(float)"},
        outputs={"y": "tensor(float)"},
        infer=infer,
        body="""
        wide = Cast<to = 1>(x)
        scaled = Mul(wide, factor)
        y = Add(scaled, offset)
        """,
    )


OP = Op(
    name="Affine",
    code=21,
    forms=(_form("", "float"), _form("S32", "int32"), _form("S8", "int8")),
)
