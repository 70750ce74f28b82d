"""QuantizeRowsInt4: 4-bit activations with one scale per token, as BitNet a4.8 quantizes."""

from __future__ import annotations

from bitexport.ops import Form, Op
from bitexport.ops.quantize_rows import infer

OP = Op(
    name="QuantizeRowsInt4",
    code=14,
    forms=(
        Form(
            op_type="QuantizeRowsInt4",
            summary="q = clip(rint(x * s), -8, 7) with s = sqrt(7) / max(mean|x|, 1e-5) per row.",
            inputs={"x": "tensor(float)"},
            outputs={"q": "tensor(int8)", "scale": "tensor(float)"},
            infer=infer,
            body="""
            last = Constant<value_ints = [-1]>()
            tiny = Constant<value_float = 0.00001>()
            root_seven = Constant<value_float = 2.6457512378692627>()
            top = Constant<value_float = 7.0>()
            bottom = Constant<value_float = -8.0>()
            size = Abs(x)
            mean = ReduceMean<keepdims = 1>(size, last)
            bounded = Max(mean, tiny)
            scale = Div(root_seven, bounded)
            scaled = Mul(x, scale)
            rounded = Round(scaled)
            clipped = Clip(rounded, bottom, top)
            q = Cast<to = 3>(clipped)
            """,
        ),
    ),
)
