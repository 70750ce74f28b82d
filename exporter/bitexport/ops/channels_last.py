"""ChannelsLast: the planes of a picture become positions with channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """X [1, channels, height, width] gives [1, height * width, channels]."""
    one, channels, *size = inputs[0].shape
    return (Type(inputs[0].dtype, (one, math.prod(map(int, size)), channels)),)


OP = Op(
    name="ChannelsLast",
    code=24,
    attributes={"channels": int},
    forms=(
        Form(
            op_type="ChannelsLast",
            summary="Planes, one after the other, become positions with channels.",
            inputs={"x": "tensor(float)"},
            outputs={"y": "tensor(float)"},
            infer=infer,
            body="""
            turned = Transpose<perm = [0, 2, 3, 1]>(x)
            last = Constant<value_ints = [-1]>()
            one = Constant<value_ints = [1]>()
            channels_scalar = Constant<value_int: int = @channels>()
            channels = Reshape(channels_scalar, last)
            shape = Concat<axis = 0>(one, last, channels)
            y = Reshape(turned, shape)
            """,
        ),
    ),
)
