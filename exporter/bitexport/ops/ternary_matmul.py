"""TernaryMatMul: int8 activations times ternary weights, summed exactly in int32."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], attributes: Attributes) -> tuple[Type, ...]:
    """Q [..., k] gives [..., n]."""
    return (Type(ir.DataType.INT32, (*inputs[0].shape[:-1], int(attributes["n"]))),)


# The weights of the op before a layout is chosen: a matrix of trits that no file ever holds.
LOGICAL = Form(
    op_type="TernaryMatMul",
    summary="Ternary weights, not laid out yet.",
    inputs={"q": "tensor(int8)", "weight": "tensor(int8)"},
    outputs={"y": "tensor(int32)"},
    infer=infer,
    body="t = Transpose<perm = [1, 0]>(weight) y = MatMulInteger(q, t)",
)

P2R = Form(
    op_type="TernaryMatMulP2R",
    summary="Ternary weights in layout p2r: 2 bits each, four rows to a byte (FORMAT.md, 3.3).",
    inputs={"q": "tensor(int8)", "weight": "tensor(uint8)"},
    outputs={"y": "tensor(int32)"},
    infer=infer,
    body="""
    zero = Constant<value_ints = [0]>()
    one = Constant<value_ints = [1]>()
    minus = Constant<value_ints = [-1]>()
    four = Constant<value_ints = [4]>()
    fifteen = Constant<value_ints = [15]>()
    sixteen = Constant<value_ints = [16]>()
    rows_scalar = Constant<value_int: int = @n>()
    rows = Reshape(rows_scalar, minus)
    columns_scalar = Constant<value_int: int = @k>()
    columns = Reshape(columns_scalar, minus)
    columns_up = Add(columns, fifteen)
    blocks = Div(columns_up, sixteen)
    steps = Mul(blocks, four)
    padded = Mul(blocks, sixteen)
    tile_shape = Concat<axis = 0>(minus, steps, four, four, one)
    tiles = Reshape(weight, tile_shape)
    sign = Constant<value = uint8 {128}>()
    codes = BitwiseXor(tiles, sign)
    shifts = Constant<value = uint8[4] {0, 2, 4, 6}>()
    low_two = Constant<value = uint8 {3}>()
    shifted = BitShift<direction = "RIGHT">(codes, shifts)
    fields = BitwiseAnd(shifted, low_two)
    field_codes = Cast<to = 6>(fields)
    bias = Constant<value = int32[4] {1, 1, 1, 2}>()
    trits_wide = Sub(field_codes, bias)
    trits = Cast<to = 3>(trits_wide)
    by_row = Transpose<perm = [0, 4, 2, 1, 3]>(trits)
    matrix_shape = Concat<axis = 0>(minus, padded)
    matrix = Reshape(by_row, matrix_shape)
    starts = Concat<axis = 0>(zero, zero)
    ends = Concat<axis = 0>(rows, columns)
    axes = Concat<axis = 0>(zero, one)
    weights = Slice(matrix, starts, ends, axes)
    transposed = Transpose<perm = [1, 0]>(weights)
    y = MatMulInteger(q, transposed)
    """,
)

OP = Op(
    name="TernaryMatMul",
    code=4,
    attributes={"n": int, "k": int},
    forms=(LOGICAL, P2R),
)
