"""What each matrix of a plan is: its numbers, their scales, and what they are multiplied with."""

from __future__ import annotations

import collections
import dataclasses
import math
import re
from collections.abc import Iterable, Mapping

from bitexport_ref.bitx import Bitx
from bitexport_ref.bitx_records import Dtype, Op, OpCode, OperandKind, Tensor

LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
PACKED: Mapping[str, str] = {
    "P2R": "ternary",
    "B1R": "binary",
    "Q4R": "int4",
    "P2B": "ternary",
    "T5X3": "ternary",
    "P16": "ternary",
}
ACTIVATIONS: Mapping[str, str] = {
    "QUANTIZE_ROWS": "int8 per token",
    "QUANTIZE_ROWS_INT4": "int4 per token",
    "QUANTIZE_ROWS_INT16": "int16 per token",
}
PRODUCTS = ("TERNARY_MATMUL", "DENSE_MATMUL", "GROUP_MATMUL")
TABLES = ("EMBED", "GROUP_EMBED")
MATRIX = 1  # the operand of tables and of products that holds the weights
WEIGHT_SCALE = 2
LAYERS = "layer"
VECTORS: Mapping[str, str] = {"RMS_NORM": "norms", "ROPE": "tables", "RESCALE": "scales"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatrixFacts:
    """A matrix [n, k] of the graph."""

    name: str
    layer: int | None
    role: str
    """embedding, head, both of them, or layer."""
    shape: tuple[int, ...]
    form: str
    """ternary, binary, int4, int8, f32, f16 or bf16."""
    layout: str
    scales: str
    """What shares a scale: `matrix`, `row`, `128 columns` or `128 of a row`; empty for floats."""
    activations: str
    """What it is multiplied with; empty for a table that is only looked up."""
    bytes: int
    scale_bytes: int

    @property
    def bits_per_weight(self) -> float:
        """Bits of a weight, padding of the layout and scales included."""
        return 8 * (self.bytes + self.scale_bytes) / math.prod(self.shape)


def matrices(bitx: Bitx) -> tuple[MatrixFacts, ...]:
    """Return every matrix that ops multiply with or look up, in the order of the plan."""
    readers: dict[int, list[Op]] = collections.defaultdict(list)
    producers: dict[int, Op] = {}
    for op in bitx.ops:
        if op.code.name in (*PRODUCTS, *TABLES):
            readers[op.inputs[MATRIX].index].append(op)
        producers |= {output.index: op for output in op.outputs}
    return tuple(_matrix(bitx, at, ops, producers) for at, ops in readers.items())


def tensor_kinds(bitx: Bitx) -> dict[int, str]:
    """Return what each tensor is, by its index: the matrices by form, head and embedding apart."""
    kinds: dict[int, str] = {}
    for op in bitx.ops:
        name = op.code.name
        for place, operand in enumerate(op.inputs):
            if operand.kind is not OperandKind.TENSOR:
                continue
            if name in (*PRODUCTS, *TABLES):
                tensor = bitx.tensors[operand.index]
                kind = _kind(name, tensor) if place == MATRIX else "scales"
            else:
                kind = VECTORS.get(name, "biases")
            kinds.setdefault(operand.index, kind)
    return kinds


def layer_of(name: str) -> int | None:
    """Return the number of the layer that a tensor belongs to."""
    match = LAYER.search(name)
    return int(match[1]) if match else None


def form_of(tensor: Tensor) -> str:
    """Return what the numbers of a matrix are."""
    packed = PACKED.get(tensor.layout.name)
    return packed or ("int8" if tensor.dtype is Dtype.S8 else tensor.dtype.name.lower())


def counted(all_of_them: Iterable[MatrixFacts]) -> list[str]:
    """Return one line for each kind of matrix: how many there are, and what they are."""
    groups: dict[tuple[str, str, str], list[MatrixFacts]] = collections.defaultdict(list)
    for each in all_of_them:
        groups[each.form, each.scales, each.activations].append(each)
    return [
        f"{len(group)} {form} matrices" * (len(group) > 1)
        + f"{_title(group[0])} {form}" * (len(group) == 1)
        + (f", {_scale_words(scales)}" if scales else "")
        + (f", activations {activations}" if activations else "")
        for (form, scales, activations), group in groups.items()
    ]


def _title(matrix: MatrixFacts) -> str:
    return matrix.name.removesuffix(".weight") if matrix.role == LAYERS else matrix.role


def _scale_words(scales: str) -> str:
    """Return what shares a scale as a part of a sentence."""
    if scales in ("matrix", "row"):
        return {"matrix": "one scale", "row": "a scale for each row"}[scales]
    return f"a scale for {scales.replace(' of', ' columns of')}"


def _kind(op: str, tensor: Tensor) -> str:
    if op in TABLES:
        return "embedding"
    if layer_of(tensor.name) is None:
        return "head"
    form = form_of(tensor)
    return form if form in ("ternary", "binary", "int4", "int8") else "float"


def _matrix(bitx: Bitx, at: int, ops: list[Op], producers: Mapping[int, Op]) -> MatrixFacts:
    tensor = bitx.tensors[at]
    found = [scale for op in ops if (scale := _scale(bitx, op)) is not None]
    products = [op for op in ops if op.code.name in PRODUCTS]
    return MatrixFacts(
        name=tensor.name, layer=layer_of(tensor.name), role=_role(tensor, ops),
        shape=tensor.shape, form=form_of(tensor), layout=tensor.layout.name.lower(),
        scales=_reach(found[0], ops[0], tensor) if found else "",
        activations=_activations(products[0], tensor, producers) if products else "",
        bytes=tensor.size, scale_bytes=found[0].size if found else 0,
    )  # fmt: skip


def _role(tensor: Tensor, ops: list[Op]) -> str:
    if layer_of(tensor.name) is not None:
        return LAYERS
    names = {op.code.name for op in ops}
    roles = ["embedding"] * (not names.isdisjoint(TABLES))
    roles += ["head"] * (not names.isdisjoint(PRODUCTS))
    return " and ".join(roles)


def _scale(bitx: Bitx, op: Op) -> Tensor | None:
    """Return the tensor of a matrix's scales: an operand of its own op or of the Rescale behind."""
    if len(op.inputs) > WEIGHT_SCALE and op.inputs[WEIGHT_SCALE].kind is OperandKind.TENSOR:
        return bitx.tensors[op.inputs[WEIGHT_SCALE].index]
    made = op.outputs[0]
    for later in bitx.ops:
        if later.code is OpCode.RESCALE and made in later.inputs:
            return bitx.tensors[later.inputs[WEIGHT_SCALE].index]
    return None


def _reach(scale: Tensor, op: Op, tensor: Tensor) -> str:
    rows = scale.shape[-1] > 1
    if len(scale.shape) > 1 and scale.shape[0] > 1:
        group = min(op.attributes[0], tensor.shape[-1])
        return f"{group} of a row" if rows else f"{group} columns"
    return "row" if rows else "matrix"


def _activations(op: Op, tensor: Tensor, producers: Mapping[int, Op]) -> str:
    made = producers.get(op.inputs[0].index)
    if made is not None and made.code.name == "QUANTIZE_GROUPS":
        return f"int8 per {min(made.attributes[0], tensor.shape[-1])} columns"
    if made is not None and made.code.name in ACTIVATIONS:
        return ACTIVATIONS[made.code.name]
    return "int8, given" if form_of(tensor) in (*PACKED.values(), "int8") else "f32"
