"""AppendCacheInt8: AppendCache as int8 codes, with a scale for each row and head."""

from __future__ import annotations

from collections.abc import Sequence

from bitexport.ops import Attributes, Form, Op, Type
from bitexport.ops.append_cache import BY_HEAD, longer
from bitexport.ops.quantize_rows import LARGEST, body


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """Past [batch, heads, past, d], its scale [..., 1], x [batch, sequence, heads * d]: longer."""
    past, scale, x = inputs
    return longer(past, x), longer(scale, x)


QUANTIZE = body(LARGEST, 127.0, -128, 127, x="by_head")

OP = Op(
    name="AppendCacheInt8",
    code=19,
    attributes={"heads": int},
    forms=(
        Form(
            op_type="AppendCacheInt8",
            summary="Store rows as the codes of QuantizeRows of each head, and 1 / its scale.",
            inputs={
                "past": "tensor(int8)", "past_scale": "tensor(float)", "x": "tensor(float)"
            },
            outputs={"present": "tensor(int8)", "present_scale": "tensor(float)"},
            infer=infer,
            body=f"""
            {BY_HEAD}
            {QUANTIZE}
            one = Constant<value_float = 1.0>()
            step = Div(one, scale)
            present = Concat<axis = 2>(past, q)
            present_scale = Concat<axis = 2>(past_scale, step)
            """,
        ),
    ),
)  # fmt: skip
