"""Patches: what a window sees of a picture, a row for each place where it stands."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bitexport.ops import Attributes, Form, Op, Type
from bitexport.ops._windows import ATTRIBUTES, PATCHES, channels_of, moved, words


def infer(inputs: Sequence[Type], attributes: Attributes) -> tuple[Type, ...]:
    """X [1, positions, c] gives [1, steps, kh * kw * c]."""
    columns = math.prod(attributes["kernel_shape"]) * channels_of(inputs)
    return moved(inputs[0], attributes, columns, inputs[0].dtype)


def _form(suffix: str, dtype: str, number: int) -> Form:
    return Form(
        op_type=f"Patches{suffix}",
        summary=f"What a window sees of a picture of {dtype}, 0 where that is padding.",
        inputs={"x": f"tensor({dtype})"},
        outputs={"y": f"tensor({dtype})"},
        infer=infer,
        body=f"{PATCHES}\ny = Cast<to = {number}>(rows)",
    )


OP = Op(
    name="Patches",
    code=26,
    attributes=ATTRIBUTES,
    words=words,
    forms=(_form("", "float", 1), _form("S8", "int8", 3)),
)
