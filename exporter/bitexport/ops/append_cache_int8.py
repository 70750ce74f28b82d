"""AppendCacheInt8: AppendCache as int8 codes, with a scale for each row and head."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Dim, Form, Op, Type
from bitexport.ops.quantize_rows import LARGEST, body


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """Past [batch, heads, past, d], its scale [..., 1], x [batch, sequence, heads * d]: longer."""
    past, _scale, x = inputs
    batch, heads, before, size = past.shape
    added = x.shape[1]
    after: Dim = before + added if isinstance(before, int) and isinstance(added, int) else "total"
    return (
        Type(ir.DataType.INT8, (batch, heads, after, size)),
        Type(ir.DataType.FLOAT, (batch, heads, after, 1)),
    )


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
            zero = Constant<value_ints = [0]>()
            minus = Constant<value_ints = [-1]>()
            heads_scalar = Constant<value_int: int = @heads>()
            heads_dim = Reshape(heads_scalar, minus)
            shape = Concat<axis = 0>(zero, zero, heads_dim, minus)
            split = Reshape(x, shape)
            by_head = Transpose<perm = [0, 2, 1, 3]>(split)
            {QUANTIZE}
            one = Constant<value_float = 1.0>()
            step = Div(one, scale)
            present = Concat<axis = 2>(past, q)
            present_scale = Concat<axis = 2>(past_scale, step)
            """,
        ),
    ),
)  # fmt: skip
