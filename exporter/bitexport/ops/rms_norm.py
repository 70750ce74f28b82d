"""RmsNorm: x / sqrt(mean(x^2) + epsilon) * weight, for each head of a row by itself."""

from __future__ import annotations

from collections.abc import Sequence

from bitexport.ops import Attributes, Form, Op, Type
from bitexport.ops._floats import lane_sum


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """X [..., heads * d], weight [d] give the shape of x."""
    return (inputs[0],)


# The root is rounded from float64: onnxruntime 1.20's own of float32 is not the nearest.
# Max of one value is that value: onnxruntime makes x / root of x * (1 / root), but not across it.
OP = Op(
    name="RmsNorm",
    code=2,
    attributes={"epsilon": float, "heads": int},
    forms=(
        Form(
            op_type="RmsNorm",
            summary="Root mean square normalisation with an eight-lane sum.",
            inputs={"x": "tensor(float)", "weight": "tensor(float)"},
            outputs={"y": "tensor(float)"},
            infer=infer,
            body=f"""
            last = Constant<value_ints = [-1]>()
            one = Constant<value_float = 1.0>()
            eps = Constant<value_float: float = @epsilon>()
            shape = Shape(x)
            leading = Shape<end = -1>(x)
            columns = Shape<start = -1>(x)
            heads_scalar = Constant<value_int: int = @heads>()
            heads_dim = Reshape(heads_scalar, last)
            d = Div(columns, heads_dim)
            split_shape = Concat<axis = 0>(leading, heads_dim, d)
            split = Reshape(x, split_shape)
            square = Mul(split, split)
            {lane_sum("square", "d", "total")}
            d_float = Cast<to = 1>(d)
            mean = Div(total, d_float)
            shifted = Add(mean, eps)
            shifted_wide = Cast<to = 11>(shifted)
            root_wide = Sqrt(shifted_wide)
            root = Cast<to = 1>(root_wide)
            inverse = Div(one, root)
            factor = Max(inverse)
            normal = Mul(split, factor)
            weighted = Mul(normal, weight)
            y = Reshape(weighted, shape)
            """,
        ),
    ),
)
