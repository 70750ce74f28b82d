"""TernaryMatMul: int8 activations times ternary or binary weights, summed exactly in int32."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bitexport.ops import Attributes, Form, Op, Type
from bitexport.ops._weights import LOGICAL, STORAGES, Storage

SUFFIXES = ("P2R", "B1R", "P2B", "T5X3", "P16")


def infer(inputs: Sequence[Type], attributes: Attributes) -> tuple[Type, ...]:
    """Q [..., k] gives [..., n]."""
    return (Type(ir.DataType.INT32, (*inputs[0].shape[:-1], int(attributes["n"]))),)


def _form(storage: Storage) -> Form:
    return Form(
        op_type=f"TernaryMatMul{storage.suffix}",
        summary=f"{storage.summary}.",
        inputs={"q": "tensor(int8)", "weight": storage.dtype},
        outputs={"y": "tensor(int32)"},
        infer=infer,
        body=f"""
        {storage.whole}
        transposed = Transpose<perm = [1, 0]>(weights)
        y = MatMulInteger(q, transposed)
        """,
        portable="zero = Constant<value = uint8 {128}>() y = MatMulInteger(q, weight, zero)",
    )


OP = Op(
    name="TernaryMatMul",
    code=4,
    attributes={"n": int, "k": int},
    forms=(_form(LOGICAL), *(_form(STORAGES[suffix]) for suffix in SUFFIXES)),
)
