"""GroupMatMul: activations times weights that share scales in groups of columns."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Form, Op, Type
from bitexport.ops._weights import GROUPS, LAYOUTS, LOGICAL, STORAGES, Storage

SPLIT = """
{split} = Pad({q}, pads, filler, last)
{split}_rows = Reshape({split}, split_shape)
{split}_groups = Transpose<perm = [1, 0, 2]>({split}_rows)
{total} = MatMulInteger({split}_groups, weight_groups, filler)
"""
"""One exact product of every group: int8 [..., k] gives int32 [groups, rows, n]."""

INT8_SUMS = SPLIT.format(q="q", split="wide", total="sums")
INT16_SUMS = f"""
{SPLIT.format(q="high", split="wide_high", total="high_sums")}
{SPLIT.format(q="low", split="wide_low", total="low_sums")}
step = Constant<value = int32 {{256}}>()
raised = Mul(high_sums, step)
sums = Add(raised, low_sums)
"""


def infer(inputs: Sequence[Type], attributes: Attributes) -> tuple[Type, ...]:
    """Q [..., k], scales [groups or 1, n or 1] and [..., groups or 1] give [..., n]."""
    return (Type(ir.DataType.FLOAT, (*inputs[0].shape[:-1], int(attributes["n"]))),)


WEIGHT_GROUPS = """
nothing = Constant<value = int8 {0}>()
weight_wide = Pad(weights, pads, nothing, last)
weight_shape = Concat<axis = 0>(n_dim, groups, group_dim)
weight_rows = Reshape(weight_wide, weight_shape)
weight_groups = Transpose<perm = [1, 2, 0]>(weight_rows)
"""
"""Of weights [n, k] those of each group by itself, [groups, columns of one, n]."""


def _form(storage: Storage, *, int16: bool) -> Form:
    q = "high" if int16 else "q"
    inputs = {
        q: "tensor(int8)",
        "weight": storage.dtype,
        "weight_scale": "S",
        "scale": "tensor(float)",
    }
    return Form(
        op_type=f"GroupMatMul{'Int16' if int16 else ''}{storage.suffix}",
        summary=f"{storage.summary}; exact sums in groups, scaled and added in their order.",
        inputs=inputs | ({"low": "tensor(int8)"} if int16 else {}),
        outputs={"y": "tensor(float)"},
        infer=infer,
        body=f"""
        {storage.whole}
        {_body(q, WEIGHT_GROUPS, "int8 {0}", int16=int16)}
        """,
        portable=_body(q, "weight_groups = Identity(weight)", "uint8 {128}", int16=int16),
    )


def _body(q: str, weights: str, filler: str, *, int16: bool) -> str:
    """Return the ops behind the unpacking; `filler` is what stands for an activation of 0."""
    return f"""
    {GROUPS}
    two = Constant<value_ints = [2]>()
    n_scalar = Constant<value_int: int = @n>()
    n_dim = Reshape(n_scalar, last)
    missing = Sub(padded_k, k_dim)
    pads = Concat<axis = 0>(zero, missing)
    {weights}
    filler = Constant<value = {filler}>()
    split_shape = Concat<axis = 0>(last, groups, group_dim)
    {INT16_SUMS if int16 else INT8_SUMS}
    float_sums = Cast<to = 1>(sums)
    d_matrix = Cast<to = 1>(weight_scale)
    d = Unsqueeze(d_matrix, one)
    unit = Constant<value_float = 1.0>()
    inverse = Div(unit, scale)
    scale_groups = Shape<start = -1>(scale)
    inverse_shape = Concat<axis = 0>(last, scale_groups)
    inverse_rows = Reshape(inverse, inverse_shape)
    inverse_groups = Transpose<perm = [1, 0]>(inverse_rows)
    r = Unsqueeze(inverse_groups, two)
    of_weight = Mul(float_sums, d)
    terms = Mul(of_weight, r)
    before_first = Slice(terms, zero, one, zero)
    nothing_wide = Sub(before_first, before_first)
    all_terms = Concat<axis = 0>(nothing_wide, terms)
    first_axis = Constant<value_int = 0>()
    running = CumSum(all_terms, first_axis)
    last_group = Constant<value_int = -1>()
    total = Gather<axis = 0>(running, last_group)
    leading = Shape<end = -1>({q})
    y_shape = Concat<axis = 0>(leading, n_dim)
    y = Reshape(total, y_shape)
    """


OP = Op(
    name="GroupMatMul",
    code=17,
    attributes={"n": int, "k": int, "group": int},
    forms=tuple(
        _form(storage, int16=int16)
        for int16 in (False, True)
        for storage in (LOGICAL, *(STORAGES[layout.suffix] for layout in LAYOUTS))
    ),
)
