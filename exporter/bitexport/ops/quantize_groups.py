"""QuantizeGroups: int8 activations with one scale for each group of columns of each token."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], attributes: Attributes) -> tuple[Type, ...]:
    """X [..., columns] gives q of the same shape and scale [..., groups]."""
    *leading, columns = inputs[0].shape
    assert isinstance(columns, int), "groups are counted when the graph is made"
    groups = -(-columns // int(attributes["group"]))
    return (
        Type(ir.DataType.INT8, inputs[0].shape),
        Type(ir.DataType.FLOAT, (*leading, groups)),
    )


OP = Op(
    name="QuantizeGroups",
    code=16,
    attributes={"group": int},
    forms=(
        Form(
            op_type="QuantizeGroups",
            summary="QuantizeRows of each group of columns by itself; the last may be shorter.",
            inputs={"x": "tensor(float)"},
            outputs={"q": "tensor(int8)", "scale": "tensor(float)"},
            infer=infer,
            body="""
            zero = Constant<value_ints = [0]>()
            one = Constant<value_ints = [1]>()
            last = Constant<value_ints = [-1]>()
            tiny = Constant<value_float = 0.00001>()
            top = Constant<value_float = 127.0>()
            bottom = Constant<value_float = -128.0>()
            group_scalar = Constant<value_int: int = @group>()
            group_dim = Reshape(group_scalar, last)
            leading = Shape<end = -1>(x)
            columns = Shape<start = -1>(x)
            before = Sub(columns, one)
            whole = Div(before, group_dim)
            groups = Add(whole, one)
            padded = Mul(groups, group_dim)
            missing = Sub(padded, columns)
            pads = Concat<axis = 0>(zero, missing)
            nothing = Constant<value_float = 0.0>()
            wide = Pad(x, pads, nothing, last)
            split_shape = Concat<axis = 0>(leading, groups, group_dim)
            split = Reshape(wide, split_shape)
            size = Abs(split)
            largest = ReduceMax<keepdims = 1>(size, last)
            bounded = Max(largest, tiny)
            scale_column = Div(top, bounded)
            scale = Squeeze(scale_column, last)
            scaled = Mul(split, scale_column)
            rounded = Round(scaled)
            clipped = Clip(rounded, bottom, top)
            codes = Cast<to = 3>(clipped)
            flat_shape = Concat<axis = 0>(leading, padded)
            flat = Reshape(codes, flat_shape)
            q = Slice(flat, zero, columns, last)
            """,
        ),
    ),
)
