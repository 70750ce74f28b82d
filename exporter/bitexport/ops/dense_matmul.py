"""DenseMatMul: a matrix that is not ternary, such as the output head."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Form, Op, Type


def infer_float(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """X [..., k], weight [n, k] give [..., n]."""
    x, weight = inputs
    return (Type(ir.DataType.FLOAT, (*x.shape[:-1], weight.shape[0])),)


def infer_int(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """Q [..., k], weight [n, k] give exact sums [..., n]."""
    q, weight = inputs
    return (Type(ir.DataType.INT32, (*q.shape[:-1], weight.shape[0])),)


OP = Op(
    name="DenseMatMul",
    code=5,
    forms=(
        Form(
            op_type="DenseMatMulF32",
            summary="float32 weights, eight-lane sums.",
            inputs={"x": "tensor(float)", "weight": "tensor(float)"},
            outputs={"y": "tensor(float)"},
            infer=infer_float,
            body="t = Transpose<perm = [1, 0]>(weight) y = MatMul(x, t)",
            portable="y = MatMul(x, weight)",
        ),
        Form(
            op_type="DenseMatMulF16",
            summary="float16 weights, widened exactly, eight-lane sums.",
            inputs={"x": "tensor(float)", "weight": "tensor(float16)"},
            outputs={"y": "tensor(float)"},
            infer=infer_float,
            body="w = Cast<to = 1>(weight) t = Transpose<perm = [1, 0]>(w) y = MatMul(x, t)",
            portable="y = MatMul(x, weight)",
        ),
        Form(
            op_type="DenseMatMulBf16",
            summary="bfloat16 weights, widened exactly, eight-lane sums.",
            inputs={"x": "tensor(float)", "weight": "tensor(bfloat16)"},
            outputs={"y": "tensor(float)"},
            infer=infer_float,
            body="w = Cast<to = 1>(weight) t = Transpose<perm = [1, 0]>(w) y = MatMul(x, t)",
            portable="y = MatMul(x, weight)",
        ),
        Form(
            op_type="DenseMatMulQ8",
            summary="int8 weights times int8 activations, exact int32 sums.",
            inputs={"q": "tensor(int8)", "weight": "tensor(int8)"},
            outputs={"y": "tensor(int32)"},
            infer=infer_int,
            body="t = Transpose<perm = [1, 0]>(weight) y = MatMulInteger(q, t)",
            portable="""
            zero = Constant<value = uint8 {128}>()
            y = MatMulInteger(q, weight, zero, zero)
            """,
        ),
    ),
)
