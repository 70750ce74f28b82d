"""What a bundle is made of, as facts: every number is counted or read back, none is guessed."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bitexport import __version__
from bitexport.bench.forecast import forecast_facts, of_workload
from bitexport.bench.model import CONTEXTS
from bitexport.bench.workload import CHUNK_ROWS as PREFILL_ROWS
from bitexport.bench.workload import bundle_workload
from bitexport.models.parts.decoder import CACHES
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Built
from bitexport.passes.fuse_ops import FUSIONS
from bitexport.passes.plan import Plan, PlanOp, Role
from bitexport.passes.plan_memory import arena_bytes, position_bytes
from bitexport.report.matrices import MatrixFacts, layer_of, matrices, tensor_kinds
from bitexport.targets import Target, load_isas
from bitexport.toolchain.compile import sources
from bitexport_ref.bitx import Bitx, open_bitx, self_test
from bitexport_ref.bitx_records import Dtype, Layout, SelfTest, Tensor

KINDS = (
    "ternary", "binary", "int4", "int8", "float", "embedding", "head", "norms", "biases", "tables",
    "scales",
)  # fmt: skip
# The sections of FORMAT.md by what they are to a reader; the data, 8, is shown by kind.
SECTIONS: Mapping[int, str] = {
    1: "facts", 2: "strings", 4: "tensor records", 5: "plan", 6: "plan", 7: "plan",
    9: "tokenizer", 10: "chat template", 11: "generation defaults",
    12: "self-test", 13: "provenance", 14: "identity of the arithmetic",
}  # fmt: skip
DATA = 8
LEAST_CONTEXT = 64
CHUNK_ROWS = (1, 16)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A part of model.bitx.  All parts together are the file."""

    name: str
    bytes: int
    weights: int = 0  # elements, where it is made of tensors
    stored_as: tuple[str, ...] = ()

    @property
    def bits_per_weight(self) -> float | None:
        """Bits per element, padding of the layout included; None when there are no weights."""
        return 8 * self.bytes / self.weights if self.weights else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorFacts:
    """A tensor as it lies in the file."""

    name: str
    kind: str
    layer: int | None
    shape: tuple[int, ...]
    dtype: str
    layout: str
    bytes: int
    bits_per_weight: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerSum:
    """Bytes of the tensors of a layer by kind; layer None is what belongs to none."""

    layer: int | None
    bytes: int
    kinds: Mapping[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArenaSize:
    """The memory of a session; at most 256 bytes more than it asks for."""

    context: int
    chunk_rows: int
    states: int
    rest: int

    @property
    def bytes(self) -> int:
        """The whole arena."""
        return self.states + self.rest


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheFacts:
    """A kind of KV cache: its size, and what it costs if the build measured that."""

    cache: str
    position_bytes: int
    kl: float | None
    """KL to a cache of f32, nats a token."""
    same_choice: float | None
    """At how many of the positions the likeliest token is the same."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpFacts:
    """One op of the plan; ops with the same step run as one."""

    op: str
    step: int
    output: str
    weights: tuple[str, ...]
    kernel: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class FusionCount:
    """How often a fusion occurs."""

    ops: tuple[str, ...]
    count: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatrixUse:
    """Matrix ops that one kernel family serves; None is the portable C of the op itself."""

    op: str
    weights: str
    kernel: str | None
    count: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoreFacts:
    """An emulated core: what must be seen to run on it, and which variant of a kernel it takes."""

    core: str
    instruction_sets: tuple[str, ...]
    kernels: Mapping[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelfTestFacts:
    """The vectors that travel in the file."""

    prompt_tokens: int
    generated_tokens: int
    op_outputs: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class BundleReport:
    """Everything that report.json says and report.html shows."""

    report_version: int = 1
    bitexport: str = __version__
    model: Facts
    options: Options
    measured: Mapping[str, Any]
    """What a build measured; of --ternarize, perplexity before and after."""
    target: str
    target_summary: str
    ram_bytes: int | None
    file_bytes: int
    parts: tuple[Part, ...]
    layers: tuple[LayerSum, ...]
    memory: tuple[ArenaSize, ...]
    caches: tuple[CacheFacts, ...]
    steps: int
    fusions: tuple[FusionCount, ...]
    matrices: tuple[MatrixUse, ...]
    cores: tuple[CoreFacts, ...]
    self_test: SelfTestFacts | None
    predicted: Mapping[str, Any] | None
    """Speed and energy on named devices, by the roofline of `bench devices`; None, if not a
    language model."""
    ops: tuple[OpFacts, ...]
    weights: tuple[MatrixFacts, ...]
    tensors: tuple[TensorFacts, ...]

    @property
    def bits_per_weight(self) -> float | None:
        """Bits of the whole file for each weight of a matrix; None when there are no matrices."""
        weights = sum(math.prod(matrix.shape) for matrix in self.weights)
        return 8 * self.file_bytes / weights if weights else None

    def as_json(self) -> dict[str, Any]:
        """Return the facts as plain data, with the sums that properties give."""
        said = {**dataclasses.asdict(self), "options": self.options.chosen()}
        said["bits_per_weight"] = self.bits_per_weight
        for entry, part in zip(said["parts"], self.parts, strict=True):
            entry["bits_per_weight"] = part.bits_per_weight
        for entry, arena in zip(said["memory"], self.memory, strict=True):
            entry["bytes"] = arena.bytes
        for entry, matrix in zip(said["weights"], self.weights, strict=True):
            entry["bits_per_weight"] = matrix.bits_per_weight
        return said


def describe(built: Built) -> BundleReport:
    """Return the facts about a bundle; sizes are read back from its model.bitx."""
    bitx = open_bitx(built.data)
    tested = self_test(bitx)
    plan, target = built.plan, built.target
    tensors = _tensors(bitx)
    ops = _ops(plan, bitx)
    uses = collections.Counter(_matrix_uses(plan, bitx))
    return BundleReport(
        model=built.facts,
        options=built.options,
        measured=built.measured,
        target=target.name,
        target_summary=target.summary,
        ram_bytes=target.ram_bytes,
        file_bytes=len(bitx.blob),
        parts=_parts(bitx, tensors),
        layers=_layers(tensors),
        memory=_memory(plan, built.facts.context, target.pointer_bytes),
        caches=_caches(built.facts, built.measured.get("kv_cache", {}).get("caches", {})),
        steps=len({op.step for op in ops}),
        fusions=_fusions(plan),
        matrices=tuple(dataclasses.replace(use, count=n) for use, n in uses.items()),
        cores=_cores(target, {use.kernel for use in uses if use.kernel}),
        self_test=_self_test(tested) if tested else None,
        predicted=_predicted(bitx, plan, target) if bitx.facts.is_language_model else None,
        ops=ops,
        weights=matrices(bitx),
        tensors=tensors,
    )  # fmt: skip


def _predicted(bitx: Bitx, plan: Plan, target: Target) -> Mapping[str, Any]:
    arena = arena_bytes(plan, PREFILL_ROWS, bitx.facts.context, target.pointer_bytes)
    workload = bundle_workload(bitx, target=target.name, arena_bytes=arena)
    return forecast_facts(of_workload(workload, (), CONTEXTS))


def _self_test(tested: SelfTest) -> SelfTestFacts:
    return SelfTestFacts(
        prompt_tokens=len(tested.prompt),
        generated_tokens=len(tested.generated),
        op_outputs=len(tested.chains),
    )


# ---- the file --------------------------------------------------------------------------------


def _tensors(bitx: Bitx) -> tuple[TensorFacts, ...]:
    kinds = tensor_kinds(bitx)
    return tuple(_tensor(tensor, kinds[at]) for at, tensor in enumerate(bitx.tensors))


def _tensor(tensor: Tensor, kind: str) -> TensorFacts:
    return TensorFacts(
        name=tensor.name,
        kind=kind,
        layer=layer_of(tensor.name),
        shape=tensor.shape,
        dtype=tensor.dtype.name.lower(),
        layout=tensor.layout.name.lower(),
        bytes=tensor.size,
        bits_per_weight=8 * tensor.size / math.prod(tensor.shape),
    )


def _parts(bitx: Bitx, tensors: Sequence[TensorFacts]) -> tuple[Part, ...]:
    """Return weights by kind, then the other sections, what leads to them, and what is between."""
    parts = []
    for kind in KINDS:
        own = [tensor for tensor in tensors if tensor.kind == kind]
        parts.append(
            Part(
                name=kind,
                bytes=sum(tensor.bytes for tensor in own),
                weights=sum(math.prod(tensor.shape) for tensor in own),
                stored_as=tuple(sorted({_stored_as(tensor) for tensor in own})),
            )
        )
    sizes: collections.Counter[str] = collections.Counter()
    for section in bitx.sections:
        if section.id != DATA:
            sizes[SECTIONS[section.id]] += section.size
    parts += [Part(name=name, bytes=size) for name, size in sizes.items()]
    table = min(section.offset for section in bitx.sections)
    spans = [(section.offset, section.end) for section in bitx.sections if section.id != DATA]
    spans += [(tensor.offset, tensor.offset + tensor.size) for tensor in bitx.tensors]
    gaps = sum(after[0] - before[1] for before, after in itertools.pairwise(sorted(spans)))
    parts += [Part(name="header and section table", bytes=table), Part(name="padding", bytes=gaps)]
    return tuple(part for part in parts if part.bytes)


def _stored_as(tensor: TensorFacts) -> str:
    return tensor.dtype if tensor.layout == Layout.PLAIN.name.lower() else tensor.layout


def _layers(tensors: Iterable[TensorFacts]) -> tuple[LayerSum, ...]:
    sums: dict[int | None, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for tensor in tensors:
        sums[tensor.layer][tensor.kind] += tensor.bytes
    inside = sorted(layer for layer in sums if layer is not None)
    return tuple(
        LayerSum(layer=layer, bytes=sums[layer].total(), kinds=dict(sums[layer]))
        for layer in (*inside, None)
        if layer in sums
    )


# ---- memory ----------------------------------------------------------------------------------


def contexts(most: int) -> tuple[int, ...]:
    """Return the powers of two from 64 on, and the model's own context."""
    doubled = itertools.takewhile(
        lambda n: n < most, (LEAST_CONTEXT << i for i in itertools.count())
    )
    return (*doubled, most)


def _memory(plan: Plan, most: int, pointer_bytes: int) -> tuple[ArenaSize, ...]:
    """Return the arena for each context and chunk; a session never takes a chunk beyond either."""
    row = sum(value.row_bytes for value in plan.values if value.role is Role.STATE)
    return tuple(
        ArenaSize(
            context=context, chunk_rows=rows, states=row * context,
            rest=arena_bytes(plan, rows, context, pointer_bytes) - row * context,
        )
        for context in contexts(most)
        for rows in CHUNK_ROWS
    )  # fmt: skip


def _caches(facts: Facts, measured: Mapping[str, Mapping[str, float]]) -> tuple[CacheFacts, ...]:
    """Return every kind of cache that the model could be built with."""
    exact = {"kl": 0.0, "same_choice": 1.0} if measured else {}
    return tuple(
        CacheFacts(
            cache=cache,
            position_bytes=position_bytes(
                int(dtype.itemsize), facts.layers, facts.kv_heads, facts.head_size
            ),
            kl=cost.get("kl"), same_choice=cost.get("same_choice"),
        )
        for cache, dtype in CACHES.items()
        for cost in [measured.get(cache, exact)]
    )  # fmt: skip


# ---- the plan --------------------------------------------------------------------------------


def _ops(plan: Plan, bitx: Bitx) -> tuple[OpFacts, ...]:
    facts: list[OpFacts] = []
    step, last = -1, 0  # the last op that the step covers
    for at, op in enumerate(plan.ops):
        if at >= last:
            step, last = step + 1, at + max(1, op.fusion_count)
        facts.append(
            OpFacts(
                op=op.op.name, step=step, output=plan.values[op.outputs[0]].name,
                weights=tuple(plan.tensors[at] for at in _weights(op)),
                kernel=_kernel(op, bitx),
            )
        )  # fmt: skip
    return tuple(facts)


def _weights(op: PlanOp) -> list[int]:
    """Return the tensors that an op reads, by index."""
    return [operand.index for operand in op.inputs if operand.is_tensor]


def _kernel(op: PlanOp, bitx: Bitx) -> str | None:
    """Return the kernel family that serves an op; floats have none, their sums are portable C."""
    tensors = [bitx.tensors[at] for at in _weights(op)]
    if op.op.name in ("TernaryMatMul", "GroupMatMul"):
        return f"gemv_s32_s8_{tensors[0].layout.name.lower()}"
    if op.op.name == "DenseMatMul" and tensors[0].dtype is Dtype.S8:
        return "gemv_s32_s8_s8"
    return None


def _matrix_uses(plan: Plan, bitx: Bitx) -> Iterable[MatrixUse]:
    for op in plan.ops:
        if op.op.name in ("TernaryMatMul", "DenseMatMul", "GroupMatMul"):
            tensor = bitx.tensors[_weights(op)[0]]
            plain = tensor.layout is Layout.PLAIN
            stored = (tensor.dtype if plain else tensor.layout).name.lower()
            yield MatrixUse(op=op.op.name, weights=stored, kernel=_kernel(op, bitx), count=1)


def _fusions(plan: Plan) -> tuple[FusionCount, ...]:
    counts = collections.Counter(op.fusion for op in plan.ops if op.fusion)
    return tuple(
        FusionCount(ops=FUSIONS[code].names, count=counts[code]) for code in sorted(counts)
    )


def _cores(target: Target, families: set[str]) -> tuple[CoreFacts, ...]:
    """Return the cores; each takes the last variant that it can run, in the order of isa.toml."""
    variants = {(source.path.parent.name, source.isa) for source in sources(target)}
    return tuple(
        CoreFacts(
            core=core, instruction_sets=runs,
            kernels={
                family: f"{family}_{isa}"
                for family in sorted(families)
                for isa in load_isas()
                if isa in runs and (family, isa) in variants
            },
        )
        for core, runs in target.cores.items()
    )  # fmt: skip
