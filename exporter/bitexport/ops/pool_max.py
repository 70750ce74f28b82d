"""PoolMax: the largest number under a window, channel by channel; padding is none."""

from __future__ import annotations

from collections.abc import Sequence

from bitexport.ops import Attributes, Form, Op, Type
from bitexport.ops._windows import (
    ATTRIBUTES,
    FROM_PLANES,
    PLACES,
    TO_PLANES,
    channels_of,
    moved,
    words,
)


def infer(inputs: Sequence[Type], attributes: Attributes) -> tuple[Type, ...]:
    """X [1, positions, c] gives [1, steps, c]."""
    return moved(inputs[0], attributes, channels_of(inputs), inputs[0].dtype)


def _form(suffix: str, dtype: str, number: int) -> Form:
    return Form(
        op_type=f"PoolMax{suffix}",
        summary=f"The largest number under a window, of a picture of {dtype}.",
        inputs={"x": f"tensor({dtype})"},
        outputs={"y": f"tensor({dtype})"},
        infer=infer,
        body=f"""
        {TO_PLANES}
        made = MaxPool<{PLACES}>(planes)
        {FROM_PLANES}
        y = Cast<to = {number}>(rows)
        """,
    )


OP = Op(
    name="PoolMax",
    code=28,
    attributes=ATTRIBUTES,
    words=words,
    forms=(_form("", "float", 1), _form("S8", "int8", 3)),
)
