"""AttendInt8: Attend over a cache of int8 codes, with a scale for each position and head."""

from __future__ import annotations

from bitexport.ops import Form, Op
from bitexport.ops.attend import body, infer

OP = Op(
    name="AttendInt8",
    code=20,
    attributes={"heads": int, "kv_heads": int, "scale": float},
    forms=(
        Form(
            op_type="AttendInt8",
            summary="Attend; a key, or value, is its codes times their scale.",
            inputs={
                "query": "tensor(float)",
                "key": "tensor(int8)", "key_scale": "tensor(float)",
                "value": "tensor(int8)", "value_scale": "tensor(float)",
            },
            outputs={"y": "tensor(float)"},
            infer=infer,
            body=body("""
            key_codes = Cast<to = 1>(key)
            value_codes = Cast<to = 1>(value)
            key_wide = Mul(key_codes, key_scale)
            value_wide = Mul(value_codes, value_scale)
            """),
        ),
    ),
)  # fmt: skip
