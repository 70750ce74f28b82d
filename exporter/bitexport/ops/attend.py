"""Attend: causal grouped-query attention over the cache."""

from __future__ import annotations

from collections.abc import Sequence

from bitexport.ops import Attributes, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """Query [batch, sequence, heads * d], caches [batch, kv_heads, total, d]: as query."""
    return (inputs[0],)


def body(widen: str) -> str:
    """Return the ops of attention; `widen` makes key_wide and value_wide, floats, of the caches."""
    return f"""
    zero = Constant<value_ints = [0]>()
    one = Constant<value_ints = [1]>()
    two = Constant<value_ints = [2]>()
    minus = Constant<value_ints = [-1]>()
    start = Constant<value_int = 0>()
    step = Constant<value_int = 1>()
    heads_scalar = Constant<value_int: int = @heads>()
    kv_scalar = Constant<value_int: int = @kv_heads>()
    factor = Constant<value_float: float = @scale>()
    heads_dim = Reshape(heads_scalar, minus)
    kv_dim = Reshape(kv_scalar, minus)
    repeat = Div(heads_dim, kv_dim)
    split_shape = Concat<axis = 0>(zero, zero, kv_dim, repeat, minus)
    split = Reshape(query, split_shape)
    q = Transpose<perm = [0, 2, 3, 1, 4]>(split)
    {widen}
    key_group = Unsqueeze(key_wide, two)
    value_group = Unsqueeze(value_wide, two)
    key_columns = Transpose<perm = [0, 1, 2, 4, 3]>(key_group)
    products = MatMul(q, key_columns)
    scores = Mul(products, factor)
    total = Shape<start = 2, end = 3>(key)
    length = Shape<start = 1, end = 2>(query)
    past = Sub(total, length)
    past_scalar = Squeeze(past, zero)
    total_scalar = Squeeze(total, zero)
    row_positions = Range(past_scalar, total_scalar, step)
    column_positions = Range(start, total_scalar, step)
    rows = Unsqueeze(row_positions, one)
    columns = Unsqueeze(column_positions, zero)
    visible = GreaterOrEqual(rows, columns)
    hidden = Constant<value = float {{-3.4028234663852886e38}}>()
    masked = Where(visible, scores, hidden)
    weights = Softmax<axis = -1>(masked)
    mixed = MatMul(weights, value_group)
    by_row = Transpose<perm = [0, 3, 1, 2, 4]>(mixed)
    flat_shape = Concat<axis = 0>(zero, zero, minus)
    y = Reshape(by_row, flat_shape)
    """


OP = Op(
    name="Attend",
    code=9,
    attributes={"heads": int, "kv_heads": int, "scale": float},
    forms=(
        Form(
            op_type="Attend",
            summary="Causal attention; each key/value head serves heads / kv_heads query heads.",
            inputs={"query": "tensor(float)", "key": "C", "value": "C"},
            outputs={"y": "tensor(float)"},
            infer=infer,
            body=body("""
            key_wide = Cast<to = 1>(key)
            value_wide = Cast<to = 1>(value)
            """),
        ),
    ),
)
