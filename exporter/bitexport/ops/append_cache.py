"""AppendCache: the rows of this call join the keys or values of the calls before."""

from __future__ import annotations

from collections.abc import Sequence

from bitexport.ops import Attributes, Dim, Form, Op, Type


def infer(inputs: Sequence[Type], _: Attributes) -> tuple[Type, ...]:
    """Past [batch, heads, past, d], x [batch, sequence, heads * d] give the longer cache."""
    past, x = inputs
    return (longer(past, x),)


def longer(past: Type, x: Type) -> Type:
    """Past [batch, heads, past, d] with the rows of x [batch, sequence, ...] behind: its type."""
    batch, heads, before, size = past.shape
    added = x.shape[1]
    after: Dim = before + added if isinstance(before, int) and isinstance(added, int) else "total"
    return Type(past.dtype, (batch, heads, after, size))


BY_HEAD = """
zero = Constant<value_ints = [0]>()
minus = Constant<value_ints = [-1]>()
heads_scalar = Constant<value_int: int = @heads>()
heads_dim = Reshape(heads_scalar, minus)
shape = Concat<axis = 0>(zero, zero, heads_dim, minus)
split = Reshape(x, shape)
by_head = Transpose<perm = [0, 2, 1, 3]>(split)
"""
"""Of x [batch, sequence, heads * d], `by_head` [batch, heads, sequence, d]."""


OP = Op(
    name="AppendCache",
    code=8,
    attributes={"heads": int},
    forms=(
        Form(
            op_type="AppendCache",
            summary="Store rows behind those of earlier calls, in the dtype of the cache.",
            inputs={"past": "C", "x": "tensor(float)"},
            outputs={"present": "C"},
            infer=infer,
            body=f"""
            {BY_HEAD}
            stored = CastLike(by_head, past)
            present = Concat<axis = 2>(past, stored)
            """,
        ),
    ),
)
