"""A network with every kind of weights and of activations: what no single family has."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.checkpoints.weights import Weights
from bitexport.models.parts.builder import Activations, EmbeddingTable, GraphBuilder
from bitexport.models.parts.options import ActivationKind
from bitexport.ops import Type

VALUES = {
    Kind.TRITS: (-1, 0, 1), Kind.SIGNS: (-1, 1), Kind.INT4: range(-8, 8),
    Kind.INT8: range(-128, 128),
}  # fmt: skip
FLOATS = {Kind.FLOAT: np.float32, Kind.FLOAT16: np.float16, Kind.BFLOAT16: np.uint16}
VOCABULARY, COLUMNS, CLASSES = 50, 70, 37

LAYERS: tuple[tuple[str, Kind, int, ActivationKind], ...] = (
    ("trits_int8", Kind.TRITS, 0, "int8"),
    ("trits_int4", Kind.TRITS, 0, "int4"),
    ("trits_int16", Kind.TRITS, 0, "int16"),
    ("trits_groups", Kind.TRITS, 0, "int8-group"),
    ("signs_int8", Kind.SIGNS, 0, "int8"),
    ("signs_int16", Kind.SIGNS, 0, "int16"),
    ("grouped_trits", Kind.TRITS, 64, "int8"),
    ("grouped_signs", Kind.SIGNS, 32, "int16"),
    ("grouped_signs_by_group", Kind.SIGNS, 32, "int8-group"),
    ("int4", Kind.INT4, 32, "int8"),
    ("int4_int16", Kind.INT4, 32, "int16"),
    ("int8", Kind.INT8, 0, "int8"),
    ("int8_int16", Kind.INT8, 0, "int16"),
    ("f32", Kind.FLOAT, 0, "int8"),
    ("f16", Kind.FLOAT16, 0, "int8"),
    ("bf16", Kind.BFLOAT16, 0, "int16"),
)
"""(name, kind, group, activations); the first is read by the gate alone, the others are outputs."""
OUTPUTS = ("logits", *(f"{name}.output" for name, *_ in LAYERS[1:]))


def matrix(name: str, kind: Kind, values: NDArray[np.generic]) -> Matrix:
    """Return an array as a matrix."""
    return Matrix(name, kind, *values.shape, lambda start, stop: values[start:stop])


def random_weights(kind: Kind, n: int, k: int, group: int = 0, seed: int = 0) -> Weights:
    """Return seeded weights; grouped ones have float16 scales, others float32."""
    draw = np.random.default_rng([n, k, group, seed])
    if kind in FLOATS:
        floats = draw.standard_normal((n, k)).astype(np.float32)
        if kind is Kind.BFLOAT16:
            return Weights(
                values=matrix("w", kind, (floats.view(np.uint32) >> 16).astype(np.uint16))
            )
        return Weights(values=matrix("w", kind, floats.astype(FLOATS[kind])))
    values = draw.choice(np.array(VALUES[kind], np.int8), (n, k))
    rows = -(-k // group) if group else 1
    columns = n if group or kind is Kind.INT8 else 1
    scale = draw.uniform(0.01, 0.02, (rows, columns))
    stored = Kind.FLOAT16 if group else Kind.FLOAT
    return Weights(
        values=matrix("w", kind, values),
        scale=matrix("s", stored, scale.astype(FLOATS[stored])),
        group=group,
    )


def build(table: Kind = Kind.SIGNS, group: int = 64, head: ActivationKind = "int16") -> ir.Model:
    """Embed tokens, give them to every layer, gate one by another, and multiply by the table."""
    builder = GraphBuilder("mixed", [("ids", Type(ir.DataType.INT64, ("rows",)))])
    embedding = EmbeddingTable(
        builder, random_weights(table, VOCABULARY, COLUMNS, group), "embedding"
    )
    x = embedding.embed(builder.input("ids"), "embedded")
    weight = np.linspace(0.5, 1.5, COLUMNS // 2, dtype=np.float32)[:, None]
    h = builder.norm(x, matrix("w", Kind.FLOAT, weight), "norm", epsilon=1e-5, heads=2)
    seen = Activations(builder, h, "norm")
    made = [
        builder.linear(
            seen, random_weights(kind, CLASSES, COLUMNS, group, seed), name, activations=activations
        )
        for seed, (name, kind, group, activations) in enumerate(LAYERS)
    ]
    gate = builder.op("Silu", [made[0]], "silu")
    gated = builder.op("Mul", [gate, made[1]], "gated")
    weights = random_weights(Kind.TRITS, COLUMNS, CLASSES, seed=99)
    hidden = Activations(builder, gated, "gated")
    y = builder.linear(hidden, weights, "last", activations="int8")
    logits = embedding.logits(Activations(builder, y, "head"), "logits", activations=head)
    return builder.finish([logits, *made[1:]])
