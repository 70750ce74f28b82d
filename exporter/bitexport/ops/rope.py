"""Rope: rotary position embedding, pairs (i, i + d / 2), tables shipped as bits."""

from __future__ import annotations

from collections.abc import Sequence

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """X [batch, sequence, heads * d], cos and sin [positions, d / 2] give the shape of x."""
    return (inputs[0],)


ROTATED = """
zero = Constant<value_ints = [0]>()
minus = Constant<value_ints = [-1]>()
heads_scalar = Constant<value_int: int = @heads>()
heads_dim = Reshape(heads_scalar, minus)
split_shape = Concat<axis = 0>(zero, zero, heads_dim, minus)
split = Reshape(x, split_shape)
low, high = Split<axis = -1, num_outputs = 2>(split)
{positions}
cos_rows = Gather(cos, positions)
sin_rows = Gather(sin, positions)
axis = Constant<value_ints = [-2]>()
c = Unsqueeze(cos_rows, axis)
s = Unsqueeze(sin_rows, axis)
low_c = Mul(low, c)
high_s = Mul(high, s)
high_c = Mul(high, c)
low_s = Mul(low, s)
new_low = Sub(low_c, high_s)
new_high = Add(high_c, low_s)
rotated = Concat<axis = -1>(new_low, new_high)
flat_shape = Concat<axis = 0>(zero, zero, minus)
y = Reshape(rotated, flat_shape)
"""

OP = Op(
    name="Rope",
    code=7,
    attributes={"heads": int},
    bookkeeping=frozenset({"past_length"}),
    forms=(
        Form(
            op_type="Rope",
            summary="Rotate each head's halves by the angle of the row's position.",
            inputs={
                "x": "tensor(float)",
                "cos": "tensor(float)",
                "sin": "tensor(float)",
                "past_length": "tensor(int64)",
            },
            outputs={"y": "tensor(float)"},
            infer=infer,
            body=ROTATED.format(
                positions="""
                one = Constant<value_int = 1>()
                length = Shape<start = 1, end = 2>(x)
                stop = Add(past_length, length)
                first_scalar = Squeeze(past_length, zero)
                stop_scalar = Squeeze(stop, zero)
                positions = Range(first_scalar, stop_scalar, one)
                """
            ),
            portable=ROTATED.format(positions="positions = Identity(position_ids)"),
        ),
    ),
)
