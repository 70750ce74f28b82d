"""QuantizeRowsInt4: 4-bit activations with one scale per token, as BitNet a4.8 quantizes."""

from __future__ import annotations

from bitexport.ops import Form, Op
from bitexport.ops._floats import lane_sum
from bitexport.ops.quantize_rows import body, infer

ROOT_7 = 2.6457512378692627
"""The float32 nearest to the root of 7."""

MEAN = f"""
columns = Shape<start = -1>(x)
{lane_sum("size", "columns", "total")}
columns_float = Cast<to = 1>(columns)
measured = Div(total, columns_float)
"""

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
            body=body(MEAN, ROOT_7, -8, 7),
        ),
    ),
)
