"""ChannelsFirst: positions with channels become one row, a plane for each channel."""

from __future__ import annotations

from collections.abc import Sequence

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """X [1, positions, channels] gives [1, channels * positions]."""
    one, positions, channels = inputs[0].shape
    return (Type(inputs[0].dtype, (one, int(positions) * int(channels))),)


def _form(suffix: str, dtype: str) -> Form:
    return Form(
        op_type=f"ChannelsFirst{suffix}",
        summary=f"Positions with channels, {dtype}, become one row of planes.",
        inputs={"x": f"tensor({dtype})"},
        outputs={"y": f"tensor({dtype})"},
        infer=infer,
        body="""
        turned = Transpose<perm = [0, 2, 1]>(x)
        y = Flatten<axis = 1>(turned)
        """,
    )


OP = Op(name="ChannelsFirst", code=25, forms=(_form("", "float"), _form("S8", "int8")))
