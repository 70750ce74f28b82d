"""How exact a standard op is in a runtime that others built, and what follows for ops of ours."""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Exactness(enum.StrEnum):
    """What a node gives for the inputs that the reference has, from the best to the worst."""

    BIT_EXACT = "bit-exact"
    """The bits of the reference: each element is one correctly rounded operation, or a choice."""
    INTEGER_CORE = "integer-core-exact"
    """Sums of integers are exact; floats around them are added in another order."""
    NEAR = "near"
    """Another order of float sums, another exp, or other numbers to multiply with."""


INTEGER_PRODUCT = "MatMulInteger"
ONE_ROUNDING = frozenset({
    "Abs", "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Cast", "CastLike",
    "Clip", "Concat", "Constant", "CumSum", "Div", "Floor", "Gather", "Greater", "GreaterOrEqual",
    "Identity", "Less", "Max", "Min", "Mod", "Mul", "Neg", "Pad", "Range", "ReduceMax",
    "Reshape", "Round", "Shape", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Transpose",
    "Unsqueeze", "Where", INTEGER_PRODUCT,
})  # fmt: skip
"""Standard ops that leave a runtime no freedom.  CumSum adds one after the other, by its meaning.

`Exp`, `Softmax`, `MatMul`, `ReduceSum` and `ReduceMean` of floats do; so does `Relu` of -0, which
onnxruntime leaves as it is.
"""


def exactness_of_node(op_type: str) -> Exactness:
    """Return the class of one standard op."""
    return Exactness.BIT_EXACT if op_type in ONE_ROUNDING else Exactness.NEAR


def exactness_of_nodes(op_types: Iterable[str]) -> Exactness:
    """Return the class of an op of ours that is made of these."""
    made_of = set(op_types)
    if made_of <= ONE_ROUNDING:
        return Exactness.BIT_EXACT
    return Exactness.INTEGER_CORE if INTEGER_PRODUCT in made_of else Exactness.NEAR
