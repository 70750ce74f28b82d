"""GroupEmbed: one row per token of a table that shares scales in groups of columns."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Form, Op, Type
from bitexport.ops._weights import GROUPS, LAYOUTS, LOGICAL, STORAGES, Storage, Unpacking

SCALED = f"""{GROUPS}
ids_shape = Shape(ids)
flat_ids = Reshape(ids, last)
{{split}}
numbers = Cast<to = 1>(split)
scale_rows = Shape<start = 1>(table_scale)
last_scale = Sub(scale_rows, one)
scale_ids = Min(flat_ids, last_scale)
scales_stored = Gather<axis = 1>(table_scale, scale_ids)
scales_wide = Cast<to = 1>(scales_stored)
scales_by_token = Transpose<perm = [1, 0]>(scales_wide)
scales = Unsqueeze(scales_by_token, last)
scaled = Mul(numbers, scales)
flat_shape = Concat<axis = 0>(last, padded_k)
flat = Reshape(scaled, flat_shape)
kept = Slice(flat, zero, k_dim, one)
y_shape = Concat<axis = 0>(ids_shape, k_dim)
y = Reshape(kept, y_shape)
"""
"""`split` int8 [tokens, groups, columns of one] times their scales."""

SPLIT = """
{rows}
width = Shape<start = 1>(rows)
missing = Sub(padded_k, width)
pads = Concat<axis = 0>(zero, missing)
nothing = Constant<value = int8 {{0}}>()
wide = Pad(rows, pads, nothing, last)
split_shape = Concat<axis = 0>(last, groups, group_dim)
split = Reshape(wide, split_shape)
"""
"""Of `rows` int8 [tokens, k or whole groups of columns at most]."""

COLUMNS = """
token_columns = Gather<axis = 2>(table, flat_ids)
split = Transpose<perm = [2, 0, 1]>(token_columns)
"""
"""Of a table [groups, columns of one, n]."""


def infer(inputs: Sequence[Type], attributes: Attributes) -> tuple[Type, ...]:
    """Ids [...], a table of n rows, scales [groups or 1, n or 1] give [..., k]."""
    return (Type(ir.DataType.FLOAT, (*inputs[0].shape, int(attributes["k"]))),)


def _gathered(layout: Unpacking) -> str:
    """Return the ops that unpack the tiles of the tokens' rows, and no others, into `rows`."""
    return f"""
    fifteen = Constant<value_ints = [15]>()
    sixteen = Constant<value_ints = [16]>()
    sixty_four = Constant<value_ints = [64]>()
    start = Constant<value_int = 0>()
    increment = Constant<value_int = 1>()
    tile_rows = Constant<value_ints = [{layout.tile_rows}]>()
    k_up = Add(k_dim, fifteen)
    k_blocks = Div(k_up, sixteen)
    tile_bytes = Mul(k_blocks, sixty_four)
    table_shape = Concat<axis = 0>(last, tile_bytes)
    tile_table = Reshape(table, table_shape)
    tile_ids = Div(flat_ids, tile_rows)
    token_tiles = Gather<axis = 0>(tile_table, tile_ids)
    {layout.body("token_tiles", "tile_matrix")}
    tokens = Shape(flat_ids)
    tokens_scalar = Squeeze(tokens, zero)
    counted = Range(start, tokens_scalar, increment)
    first_rows = Mul(counted, tile_rows)
    rows_of_tiles = Mod(flat_ids, tile_rows)
    row_ids = Add(first_rows, rows_of_tiles)
    rows = Gather<axis = 0>(tile_matrix, row_ids)
    """


def _form(storage: Storage, rows: str) -> Form:
    return Form(
        op_type=f"GroupEmbed{storage.suffix}",
        summary=f"{storage.summary}; a row's integers times the scales of their groups.",
        inputs={"ids": "tensor(int64)", "table": storage.dtype, "table_scale": "S"},
        outputs={"y": "tensor(float)"},
        infer=infer,
        body=SCALED.format(split=SPLIT.format(rows=rows)),
        portable=SCALED.format(split=COLUMNS),
    )


OP = Op(
    name="GroupEmbed",
    code=18,
    attributes={"n": int, "k": int, "group": int},
    forms=(
        _form(LOGICAL, "rows = Gather<axis = 0>(table, flat_ids)"),
        *(_form(STORAGES[layout.suffix], _gathered(layout)) for layout in LAYOUTS),
    ),
)
