"""What a token of a model asks of a machine: multiply-adds by kernel, elements, and bytes to read.

Either of a bundle, by its own plan, matrices and layouts, or of the shapes of a published model.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from bitexport.errors import BundleError
from bitexport.layouts import load_layout
from bitexport_ref.bitx import Bitx
from bitexport_ref.bitx_records import Dtype, Layout, Op, OpCode, OperandKind, Role, Tensor

# The parts of a token that are shown.
LAYERS, HEAD, ATTENTION, REST = "layers", "head", "attention", "rest"
# Kinds of work besides gemv kernels; keys of costs.toml.
POSITION, FLOAT, ELEMENT = "attention", "float", "element"
GEMV = "gemv_s32_s8_"  # and a layout

PRODUCTS = (OpCode.TERNARY_MATMUL, OpCode.DENSE_MATMUL, OpCode.GROUP_MATMUL)
TABLES = (OpCode.EMBED, OpCode.GROUP_EMBED, OpCode.ROPE)
MATRIX = 1  # the operand that holds the weights
CHUNK_ROWS = 16  # of a session that asks for nothing else

EMBEDDINGS: Mapping[str, tuple[str, float]] = {
    "f32": (FLOAT, 32),
    "f16": (FLOAT, 16),
    "bf16": (FLOAT, 16),
    "q8": (GEMV + "s8", 8),
    "q4": (GEMV + "q4r", 4.5),
}
"""By the names of `build --embedding`: the head's kernel, and its bits a weight with scales."""
Q4_GROUP = 32  # columns
LAYER_STEPS = 19  # of a plan of BitNet, fused
CACHE_BYTES = 2  # an element of the KV cache, f16
ATTENDS = (OpCode.ATTEND, OpCode.ATTEND_INT8)
HEAD_OF_PEERS = 20 / 64
"""Instructions for a weight of another runtime's head; their kernels for 6 and 8 bits, about."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """Some work of one token."""

    part: str
    kernel: str  # what bench/costs.py knows
    amount: float  # multiply-adds of a kernel, or elements
    bytes: float = 0.0  # of weights or cache
    once: bool = False  # for the last token of a prompt alone
    theirs: tuple[float, float] | None = None
    """Instructions of a unit in another's code, with one vector and with many."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
    """A token of a model."""

    name: str
    target: str | None  # whose library it needs; None: any
    layout: str  # of ternary weights
    works: tuple[Work, ...]
    position: Work  # of each position before the token
    file_bytes: int
    arena_bytes: int  # of a session with the whole context
    context: int
    steps: int  # of the plan, fused: threads meet after each

    @property
    def bytes(self) -> float:
        """Return what a token without others before it reads."""
        return sum(work.bytes for work in self.works)


# ---- of a bundle -----------------------------------------------------------------------------


def bundle_workload(bitx: Bitx, *, target: str, arena_bytes: int) -> Workload:
    """Return a token of a .bitx file's plan; `arena_bytes` with its whole context."""
    facts = bitx.facts
    if not facts.is_language_model:
        raise BundleError(f"{facts.name}: is no language model: it has no tokens to predict")
    works = tuple(_gathered([work for op in bitx.ops for work in _works(bitx, op)]))
    states = [value for value in bitx.values if value.role is Role.STATE]
    attended = sum(
        2 * bitx.values[op.inputs[0].index].columns for op in bitx.ops if op.code in ATTENDS
    )
    return Workload(
        name=facts.name,
        target=target,
        layout=_layout(works),
        works=works,
        position=Work(
            part=ATTENTION, kernel=POSITION, amount=attended,
            bytes=sum(state.columns * state.dtype.size for state in states),
        ),
        file_bytes=len(bitx.blob),
        arena_bytes=arena_bytes,
        context=facts.context,
        steps=len(bitx.ops) - sum(op.covers - 1 for op in bitx.ops if op.covers),
    )  # fmt: skip


def _layout(works: Sequence[Work]) -> str:
    """Return the layout of most weights of the layers."""
    kernels = [work for work in works if work.part == LAYERS and work.kernel.startswith(GEMV)]
    largest = max(kernels, key=lambda work: work.amount, default=None)
    return largest.kernel.removeprefix(GEMV) if largest else ""


def _works(bitx: Bitx, op: Op) -> Iterator[Work]:
    """Yield what an op of the plan does for a row, and which weights it reads for that."""
    read = sum(
        _read(op, bitx.tensors[operand.index])
        for operand in op.inputs
        if operand.kind is OperandKind.TENSOR
    )
    columns = sum(bitx.values[output.index].columns for output in op.outputs)
    if op.code not in PRODUCTS:
        elements = 0 if op.code in ATTENDS else columns
        yield Work(part=REST, kernel=ELEMENT, amount=elements, bytes=read)
        return
    tensor = bitx.tensors[op.inputs[MATRIX].index]
    n, k = tensor.shape
    is_head = op.outputs[0].index == bitx.facts.logits_value
    part = HEAD if is_head or _is_head(bitx, op) else LAYERS
    yield Work(part=part, kernel=_kernel(tensor), amount=n * k, bytes=read, once=part == HEAD)
    if op.code is OpCode.GROUP_MATMUL:
        groups = math.ceil(k / max(1, op.attributes[0]))
        yield Work(part=part, kernel=ELEMENT, amount=n * groups, once=part == HEAD)


def _is_head(bitx: Bitx, op: Op) -> bool:
    """Return whether only a rescale lies between a product and the logits."""
    return any(
        later.code is OpCode.RESCALE
        and op.outputs[0] in later.inputs
        and later.outputs[0].index == bitx.facts.logits_value
        for later in bitx.ops
    )


def _kernel(tensor: Tensor) -> str:
    """Return the kernel family of a matrix; floats have one kind of work for all of them."""
    if tensor.layout is not Layout.PLAIN:
        return GEMV + tensor.layout.name.lower()
    return GEMV + "s8" if tensor.dtype is Dtype.S8 else FLOAT


def _read(op: Op, tensor: Tensor) -> float:
    return tensor.size / tensor.shape[0] if op.code in TABLES else tensor.size


def _gathered(works: list[Work]) -> Iterator[Work]:
    """Add up works of one part and kernel."""
    groups: dict[tuple[str, str, bool], list[Work]] = {}
    for work in works:
        groups.setdefault((work.part, work.kernel, work.once), []).append(work)
    for (part, kernel, once), group in groups.items():
        yield Work(
            part=part, kernel=kernel, amount=sum(work.amount for work in group),
            bytes=sum(work.bytes for work in group), once=once,
        )  # fmt: skip


# ---- of a published model's shapes -----------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a published model."""

    key: str
    name: str
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    tied: bool  # whether the head is the embedding
    source: str

    @property
    def matrices(self) -> dict[tuple[int, int], int]:
        """Return how often each matrix [n, k] occurs in a layer."""
        query, kv = self.heads * self.head_size, self.kv_heads * self.head_size
        shapes = [(query, self.hidden), (kv, self.hidden), (kv, self.hidden), (self.hidden, query)]
        shapes += [(self.inner, self.hidden)] * 2 + [(self.hidden, self.inner)]
        return {shape: shapes.count(shape) for shape in shapes}

    @property
    def ternary_weights(self) -> int:
        """Return the weights of all layers."""
        return self.layers * sum(n * k * times for (n, k), times in self.matrices.items())

    @property
    def head_weights(self) -> int:
        """Return the weights of the head."""
        return self.vocabulary * self.hidden

    @property
    def elements(self) -> int:
        """Return what ops besides products and attention write for a token.

        As the plan of BitNet has them: norms, quantizers, rescales, RoPE, ReLU squared, adds.
        """
        kv = self.kv_heads * self.head_size
        return self.layers * (12 * self.hidden + 7 * self.inner + 5 * kv) + 3 * self.hidden


def shape_workload(shape: Shape, layout: str, embedding: str) -> Workload:
    """Return a token of a model of that shape, its trits in a layout, its embedding in a form."""
    packed_bytes = load_layout(layout).packed_bytes
    nbytes = sum(packed_bytes(n, k) * times for (n, k), times in shape.matrices.items())
    layers = Work(
        part=LAYERS, kernel=GEMV + layout, amount=shape.ternary_weights,
        bytes=shape.layers * nbytes,
    )  # fmt: skip
    kernel, bits = EMBEDDINGS[embedding]
    heads = [Work(part=HEAD, kernel=kernel, amount=shape.head_weights,
                  bytes=shape.head_weights * bits / 8, once=True)]  # fmt: skip
    if embedding == "q4":
        groups = shape.head_weights / Q4_GROUP
        heads.append(Work(part=HEAD, kernel=ELEMENT, amount=groups, once=True))
    return _of_shape(shape, layout, layers, heads)


def peer_workload(
    shape: Shape, *, bits: float, head_bits: float, decode: float, prefill: float
) -> Workload:
    """Return a token of a model of that shape in another's code.

    `decode` and `prefill` are its instructions for a weight, with one vector and with many.
    """
    layers = Work(
        part=LAYERS, kernel="", amount=shape.ternary_weights,
        bytes=shape.ternary_weights * bits / 8, theirs=(decode, prefill),
    )  # fmt: skip
    head = Work(
        part=HEAD, kernel="", amount=shape.head_weights, bytes=shape.head_weights * head_bits / 8,
        once=True, theirs=(HEAD_OF_PEERS, HEAD_OF_PEERS),
    )  # fmt: skip
    return _of_shape(shape, "", layers, [head])


def _of_shape(shape: Shape, layout: str, layers: Work, heads: Sequence[Work]) -> Workload:
    position_bytes = 2 * CACHE_BYTES * shape.layers * shape.kv_heads * shape.head_size
    flowing = 4 * CHUNK_ROWS * (6 * shape.hidden + 3 * shape.inner) + 4 * shape.vocabulary
    copies = 1 if shape.tied else 2
    rest = Work(part=REST, kernel=ELEMENT, amount=shape.elements)
    return Workload(
        name=shape.name,
        target=None,
        layout=layout,
        works=(layers, *heads, rest),
        position=Work(
            part=ATTENTION, kernel=POSITION, bytes=position_bytes,
            amount=2 * shape.layers * shape.heads * shape.head_size,
        ),
        file_bytes=round(layers.bytes + copies * heads[0].bytes),
        arena_bytes=position_bytes * shape.context + flowing,
        context=shape.context,
        steps=LAYER_STEPS * shape.layers,
    )  # fmt: skip


@functools.cache
def load_shapes() -> Mapping[str, Shape]:
    """Return the shapes of published models, by their key in shapes.toml."""
    text = files("bitexport.bench").joinpath("shapes.toml").read_text(encoding="utf-8")
    tables: dict[str, dict[str, Any]] = tomllib.loads(text)
    return {key: Shape(key=key, **table) for key, table in tables.items()}
