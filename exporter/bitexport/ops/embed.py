"""Embed: one row of a table per token."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """Ids [...], table [vocab, columns] give [..., columns]."""
    ids, table = inputs[:2]
    return (Type(ir.DataType.FLOAT, (*ids.shape, table.shape[1])),)


COLUMNS = """
minus = Constant<value_ints = [-1]>()
ids_shape = Shape(ids)
flat_ids = Reshape(ids, minus)
columns = Gather<axis = 1>(table, flat_ids)
rows = Transpose<perm = [1, 0]>(columns)
{numbers}
y_shape = Concat<axis = 0>(ids_shape, minus)
y = Reshape(numbers, y_shape)
"""
"""Rows of a table [columns, vocab], and the ops that make `numbers` of them."""


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
            portable=COLUMNS.format(numbers="numbers = Identity(rows)"),
        ),
        Form(
            op_type="EmbedF16",
            summary="Rows of a float16 table, widened exactly.",
            inputs={"ids": "tensor(int64)", "table": "tensor(float16)"},
            outputs={"y": "tensor(float)"},
            infer=infer,
            body="rows = Gather(table, ids) y = Cast<to = 1>(rows)",
            portable=COLUMNS.format(numbers="numbers = Identity(rows)"),
        ),
        Form(
            op_type="EmbedBf16",
            summary="Rows of a bfloat16 table, widened exactly.",
            inputs={"ids": "tensor(int64)", "table": "tensor(bfloat16)"},
            outputs={"y": "tensor(float)"},
            infer=infer,
            body="rows = Gather(table, ids) y = Cast<to = 1>(rows)",
            portable=COLUMNS.format(numbers="numbers = Identity(rows)"),
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
            portable=COLUMNS.format(
                numbers="""
                shifted = Cast<to = 1>(rows)
                half = Constant<value_float = 128.0>()
                wide = Sub(shifted, half)
                scales = Gather(scale, flat_ids)
                column = Unsqueeze(scales, minus)
                numbers = Mul(wide, column)
                """
            ),
        ),
    ),
)
