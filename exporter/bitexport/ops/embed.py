"""Embed: one row of a table per token."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """Ids [...], table [vocab, columns] give [..., columns]."""
    ids, table = inputs[:2]
    return (Type(ir.DataType.FLOAT, (*ids.shape, table.shape[1])),)


OP = Op(
    name="Embed",
    code=1,
    forms=(
        Form(
            op_type="EmbedF32",
            summary="Rows of a float32 table.",
            inputs={"ids": "tensor(int64)", "table": "tensor(float)"},
            outputs={"y": "tensor(float)"},
            infer=infer,
            body="y = Gather(table, ids)",
        ),
        Form(
            op_type="EmbedF16",
            summary="Rows of a float16 table, widened exactly.",
            inputs={"ids": "tensor(int64)", "table": "tensor(float16)"},
            outputs={"y": "tensor(float)"},
            infer=infer,
            body="rows = Gather(table, ids) y = Cast<to = 1>(rows)",
        ),
        Form(
            op_type="EmbedBf16",
            summary="Rows of a bfloat16 table, widened exactly.",
            inputs={"ids": "tensor(int64)", "table": "tensor(bfloat16)"},
            outputs={"y": "tensor(float)"},
            infer=infer,
            body="rows = Gather(table, ids) y = Cast<to = 1>(rows)",
        ),
        Form(
            op_type="EmbedQ8",
            summary="Rows of an int8 table, times a scale per row.",
            inputs={"ids": "tensor(int64)", "table": "tensor(int8)", "scale": "tensor(float)"},
            outputs={"y": "tensor(float)"},
            infer=infer,
            body="""
            rows = Gather(table, ids)
            wide = Cast<to = 1>(rows)
            scales = Gather(scale, ids)
            last = Constant<value_ints = [-1]>()
            column = Unsqueeze(scales, last)
            y = Mul(wide, column)
            """,
        ),
    ),
)
