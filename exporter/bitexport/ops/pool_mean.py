"""PoolMean: the mean of the numbers under a window, channel by channel; padding is none."""

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


OP = Op(
    name="PoolMean",
    code=29,
    attributes=ATTRIBUTES,
    words=words,
    forms=(
        Form(
            op_type="PoolMean",
            summary="The mean of the numbers under a window.",
            inputs={"x": "tensor(float)"},
            outputs={"y": "tensor(float)"},
            infer=infer,
            body=f"""
            {TO_PLANES}
            made = AveragePool<{PLACES}>(planes)
            {FROM_PLANES}
            y = Identity(rows)
            """,
        ),
    ),
)
