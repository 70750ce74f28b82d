"""A small sound .bitx file, packed from the words of targets/FORMAT.md and nothing else.

A decoder of one layer with every op and every fusion in its plan.  Everything is a plain mutable
record, so that a test can break one thing and write the rest as it was: `tiny()` makes the model,
`Bitx.write()` its bytes, with the offsets and hashes that make whatever it holds look sound.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from collections.abc import Callable, Sequence

import numpy as np

NONE = 0xFFFFFFFF
MAGIC = b"BITX\r\n\x1a\n"
HEADER_BYTES, ROW_BYTES = 64, 64

FACTS, STRINGS, TENSORS, VALUES, OPS, OPERANDS, DATA = 1, 2, 4, 5, 6, 7, 8
SELF_TEST, PROVENANCE = 12, 13
RECORD_BYTES = {FACTS: 96, TENSORS: 64, VALUES: 48, OPS: 40, OPERANDS: 8}

F32, F16, BF16, S8, U8, S32 = 1, 2, 3, 4, 5, 6
ELEMENT_BYTES = {F32: 4, F16: 2, BF16: 2, S8: 1, U8: 1, S32: 4}
PLAIN, P2R, B1R, Q4R, P2B, T5X3, P16 = 0, 1, 2, 3, 4, 5, 6
TILE_ROWS = {P2R: 16, B1R: 32, Q4R: 8}
FIXED, CALL, KEPT, CONTEXT = 0, 1, 2, 3
INTERNAL, INPUT, OUTPUT, STATE = 0, 1, 2, 3
VALUE, TENSOR = 1, 2
LAST_FIELD = 3  # of a p2r byte: holds its weight in two's complement

CODES = {
    "Embed": 1, "RmsNorm": 2, "QuantizeRows": 3, "TernaryMatMul": 4, "DenseMatMul": 5,
    "Rescale": 6, "Rope": 7, "AppendCache": 8, "Attend": 9, "Relu": 10, "Add": 11, "Mul": 12,
    "Silu": 13, "QuantizeRowsInt4": 14, "QuantizeRowsInt16": 15, "QuantizeGroups": 16,
    "GroupMatMul": 17, "GroupEmbed": 18, "AppendCacheInt8": 19, "AttendInt8": 20,
}  # fmt: skip
FUSIONS = {
    ("RmsNorm", "QuantizeRows"): 1,
    ("TernaryMatMul", "Rescale"): 2,
    ("DenseMatMul", "Rescale"): 3,
    ("Relu", "Mul", "Mul"): 4,
    ("Silu", "Mul"): 5,
    ("TernaryMatMul", "TernaryMatMul", "Rescale"): 6,
    ("DenseMatMul", "DenseMatMul", "Rescale"): 7,
}

VOCABULARY, WIDTH, INNER, SIZE, HEADS, KV_HEADS, POSITIONS, GROUP = 48, 16, 32, 8, 2, 1, 24, 16


@dataclasses.dataclass
class Tensor:
    """A record of section 3.4; `at` counts from the start of the data section."""

    name: tuple[int, int]
    dtype: int
    layout: int
    rank: int
    shape: list[int]
    at: int
    bytes: int
    reserved: int = 0
    reserved_end: int = 0


@dataclasses.dataclass
class Value:
    """A record of section 3.5."""

    name: tuple[int, int]
    dtype: int
    row_kind: int
    rows: int
    columns: int
    role: int = INTERNAL
    slot: int = 0
    fused_slot: int = 0
    reserved: bytes = bytes(12)


@dataclasses.dataclass
class Op:
    """A record of section 3.6."""

    code: int
    first: int
    inputs: int
    outputs: int
    fusion: int = 0
    covers: int = 0
    attributes: list[int] = dataclasses.field(default_factory=lambda: [0, 0, 0, 0])
    reserved: int = 0


@dataclasses.dataclass
class Facts:
    """The record of section 3.1."""

    kind: int
    vocabulary: int
    context: int
    eos: list[int]
    name: tuple[int, int]
    family: tuple[int, int]
    tokens: int
    logits: int
    hidden: int = WIDTH
    layers: int = 1
    heads: list[int] = dataclasses.field(default_factory=lambda: [HEADS, KV_HEADS, SIZE])
    bos: int = 1
    eos_count: int = 1
    reserved: bytes = bytes(16)


@dataclasses.dataclass
class SelfTest:
    """Section 3.8.  Its chains are zeros: it is well formed and never passes."""

    prompt: list[int]
    generated: list[int]
    op_outputs: int
    chains: int
    prompt_count: int | None = None
    reserved: int = 0

    def write(self) -> bytes:
        """Return the section."""
        count = len(self.prompt) if self.prompt_count is None else self.prompt_count
        head = struct.pack("<4I", count, len(self.generated), self.op_outputs, self.reserved)
        tokens = [*self.prompt, *self.generated]
        return head + struct.pack(f"<{len(tokens)}I", *tokens) + bytes(16 * (1 + self.chains))


@dataclasses.dataclass
class Row:
    """A record of the section table."""

    ident: int
    payload: bytes
    records: int
    pad: int = 0  # bytes between this section and where the next would begin


@dataclasses.dataclass
class Bitx:
    """Everything a file says."""

    facts: Facts
    strings: bytearray
    tensors: list[Tensor]
    values: list[Value]
    ops: list[Op]
    operands: list[tuple[int, int]]
    data: bytearray
    self_test: SelfTest
    provenance: bytes = b'{"tool": "tests"}'
    extra: list[Row] = dataclasses.field(default_factory=list)
    """Sections 9 to 11; a tiny model has none."""

    def string(self, text: str) -> tuple[int, int]:
        """Add a string and its zero byte; return where it lies."""
        encoded = text.encode()
        self.strings += encoded + b"\0"
        return len(self.strings) - len(encoded) - 1, len(encoded)

    def value(self, name: str) -> Value:
        """Return a value by name."""
        return self.values[self.value_index(name)]

    def value_index(self, name: str) -> int:
        """Return the index of a value."""
        return [self.text(value.name) for value in self.values].index(name)

    def tensor(self, name: str) -> Tensor:
        """Return a tensor by name."""
        return next(tensor for tensor in self.tensors if self.text(tensor.name) == name)

    def op(self, name: str, occurrence: int = 0) -> Op:
        """Return the first, second, … op of that code."""
        return [op for op in self.ops if op.code == CODES[name]][occurrence]

    def operand(self, op: Op, index: int) -> tuple[int, int]:
        """Return an operand of an op, inputs first."""
        return self.operands[op.first + index]

    def set_operand(self, op: Op, index: int, kind: int, name: str) -> None:
        """Make an operand of an op another value or tensor."""
        found = self.value_index(name) if kind == VALUE else self.tensors.index(self.tensor(name))
        self.operands[op.first + index] = (kind, found)

    def text(self, where: tuple[int, int]) -> str:
        """Return a string of the strings section."""
        return self.strings[where[0] : where[0] + where[1]].decode()

    def write(self) -> bytes:
        """Return the file."""
        return assemble(self.sections())

    def sections(self) -> list[Row]:
        """Return the sections in order."""
        rows = [
            Row(FACTS, self._facts(), 1),
            Row(STRINGS, bytes(self.strings), len(self.strings)),
            Row(TENSORS, bytes(64 * len(self.tensors)), len(self.tensors)),
            Row(VALUES, b"".join(map(_value, self.values)), len(self.values)),
            Row(OPS, b"".join(map(_op, self.ops)), len(self.ops)),
            Row(
                OPERANDS,
                b"".join(struct.pack("<2I", *operand) for operand in self.operands),
                len(self.operands),
            ),
            Row(DATA, bytes(self.data), len(self.data)),
            *self.extra,
            Row(SELF_TEST, (test := self.self_test.write()), len(test)),
            Row(PROVENANCE, self.provenance, len(self.provenance)),
        ]
        start = offsets(rows)[6]  # tensors say where they lie in the file
        rows[2].payload = b"".join(_tensor(tensor, start) for tensor in self.tensors)
        return rows

    def _facts(self) -> bytes:
        f = self.facts
        return struct.pack(
            "<10I 4I 4I 2I 16s",
            *(f.kind, f.vocabulary, f.context, f.hidden, f.layers, *f.heads, f.bos, f.eos_count),
            *(*f.eos, *f.name, *f.family, f.tokens, f.logits, f.reserved),
        )


def _tensor(t: Tensor, start: int) -> bytes:
    at = (start + t.at) % 2**64
    return struct.pack(
        "<5I 4I I 3Q",
        *(*t.name, t.dtype, t.layout, t.rank, *t.shape, t.reserved, at, t.bytes, t.reserved_end),
    )


def _value(v: Value) -> bytes:
    return struct.pack(
        "<2I 7I 12s",
        *(*v.name, v.dtype, v.row_kind, v.rows, v.columns, v.role, v.slot, v.fused_slot),
        v.reserved,
    )


def _op(o: Op) -> bytes:
    return struct.pack(
        "<2I 2H 2I 4I I",
        *(o.code, o.first, o.inputs, o.outputs, o.fusion, o.covers, *o.attributes, o.reserved),
    )


# ---- The container ---------------------------------------------------------------------------


def round_up(value: int) -> int:
    """Return the next multiple of 64."""
    return -(-value // 64) * 64


def offsets(rows: Sequence[Row]) -> list[int]:
    """Return where each section begins."""
    at, found = round_up(HEADER_BYTES + ROW_BYTES * len(rows)), []
    for row in rows:
        found.append(at)
        at = round_up(at + len(row.payload) + row.pad)
    return found


def assemble(rows: Sequence[Row]) -> bytes:
    """Return the file of these sections, sealed."""
    table, body = b"", bytearray()
    for row, at in zip(rows, offsets(rows), strict=True):
        digest = hashlib.sha256(row.payload).digest()
        table += struct.pack("<2I3Q", row.ident, 0, at, len(row.payload), row.records) + digest
        body += bytes(at - HEADER_BYTES - ROW_BYTES * len(rows) - len(body)) + row.payload
    length = HEADER_BYTES + len(table) + len(body)
    header = MAGIC + struct.pack("<2IQ2I", 1, 1, length, len(rows), HEADER_BYTES) + bytes(32)
    return sealed(header + table + body)


def sealed(file: bytes) -> bytes:
    """Return the file with the hash of the header and table that it has (rule 4)."""
    (count,) = struct.unpack_from("<I", file, 24)
    table = file[HEADER_BYTES : HEADER_BYTES + ROW_BYTES * count]
    return file[:32] + hashlib.sha256(file[:32] + table).digest() + file[64:]


# ---- The model -------------------------------------------------------------------------------


def tiny(seed: int = 0) -> Bitx:
    """Return the model of this file: seeded weights, one layer."""
    return Builder(seed).build()


class Builder:
    """Adds tensors, values and ops in the order they run."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.file = Bitx(
            facts=Facts(1, VOCABULARY, POSITIONS, [2, NONE, NONE, NONE], (0, 0), (0, 0), 0, 0),
            strings=bytearray(),
            tensors=[],
            values=[],
            ops=[],
            operands=[],
            data=bytearray(),
            self_test=SelfTest([], [], 0, 0),
        )
        self.names: list[str] = []
        self.rows = CALL

    def build(self) -> Bitx:
        """Return the decoder of `tiny()`."""
        file = self.file
        file.facts.name, file.facts.family = file.string("tiny"), file.string("bitnet")
        table = self.tensor(
            "embedding", S8, self.random.integers(-127, 128, (VOCABULARY, WIDTH)).astype("i1")
        )
        scales = self.floats("embedding.scale", self.random.uniform(0.005, 0.01, VOCABULARY))
        tokens = self.value("tokens", S32, 1, role=INPUT)
        angles = np.outer(np.arange(POSITIONS), 100.0 ** -(np.arange(SIZE // 2) / (SIZE // 2)))
        cos = self.floats("cos", np.cos(angles))
        sin = self.floats("sin", np.sin(angles))
        keys = self.value("keys", F16, KV_HEADS * SIZE, CONTEXT, role=STATE)
        values = self.value("values", F16, KV_HEADS * SIZE, CONTEXT, role=STATE)
        codes = self.coded_states()

        x = self.op("Embed", [tokens, table, scales], "x0", WIDTH)
        q = self.quantized(x, "attention", WIDTH)
        key = self.linear(q, "key", KV_HEADS * SIZE, WIDTH)
        value = self.linear(q, "value", KV_HEADS * SIZE, WIDTH)
        key = self.op("Rope", [key, cos, sin], "key.rope", 8, attributes=[KV_HEADS])
        self.add("AppendCache", [keys, key], [keys], [KV_HEADS])
        self.add("AppendCache", [values, value], [values], [KV_HEADS])
        self.add("AppendCacheInt8", [*codes[:2], key], codes[:2], [KV_HEADS])
        self.add("AppendCacheInt8", [*codes[2:], value], codes[2:], [KV_HEADS])

        self.rows = KEPT  # the caches are full: from here on, only what the logits need
        query = self.linear(q, "query", WIDTH, WIDTH)
        query = self.op("Rope", [query, cos, sin], "query.rope", WIDTH, attributes=[HEADS])
        mixed = self.op(
            "Attend", [query, keys, values], "mixed", WIDTH,
            attributes=[HEADS, KV_HEADS, float_bits(SIZE**-0.5)],
        )  # fmt: skip
        again = self.op(
            "AttendInt8", [query, *codes], "mixed.codes", WIDTH,
            attributes=[HEADS, KV_HEADS, float_bits(SIZE**-0.5)],
        )  # fmt: skip
        mixed = self.op("Add", [mixed, again], "mixed.both", WIDTH)
        mixed = self.linear(self.quantized(mixed, "sub", WIDTH), "out", WIDTH, WIDTH)
        x = self.op("Add", [x, mixed], "x1", WIDTH)

        q = self.quantized(x, "mlp", WIDTH)
        gate = self.linear(q, "gate", INNER, WIDTH)
        up = self.linear(q, "up", INNER, WIDTH)
        gate = self.op("Relu", [gate], "relu", INNER)
        gate = self.op("Mul", [gate, gate], "relu2", INNER)
        gated = self.op("Mul", [gate, up], "gated", INNER)
        down = self.linear(self.quantized(gated, "inner", INNER), "down", WIDTH, INNER)
        x = self.op("Add", [x, down], "x2", WIDTH)

        x = self.finer(x, tokens)
        head, scale = self.quantized(x, "head", WIDTH)
        total = self.op("DenseMatMul", [head, table], "logits.sum", VOCABULARY, S32)
        logits = self.op("Rescale", [total, scale, scales], "logits", VOCABULARY)

        file.values[logits[1]].role = OUTPUT
        file.facts.tokens, file.facts.logits = tokens[1], logits[1]
        self.fuse()
        self.assign_slots()
        outputs = sum(op.outputs for op in file.ops)
        file.self_test = SelfTest([1, 7, 3, 40], [5, 5, 5], outputs, outputs)
        return file

    def coded_states(self) -> list[tuple[int, int]]:
        """Return states for int8 codes of keys and of values, each with that of its scales."""
        return [
            self.value(f"{name}.{part}", dtype, columns, CONTEXT, role=STATE)
            for name in ("keys", "values")
            for part, dtype, columns in (("codes", S8, KV_HEADS * SIZE), ("scales", F32, KV_HEADS))
        ]

    def finer(self, x: tuple[int, int], tokens: tuple[int, int]) -> tuple[int, int]:
        """Add what one-scale-per-token models do without: other codes, groups, other layouts."""
        table = self.packed("groups.table", Q4R, VOCABULARY, WIDTH)
        scales = self.halves("groups.table.scale", (1, VOCABULARY))
        again = self.op("GroupEmbed", [tokens, table, scales], "again", WIDTH, attributes=[GROUP])
        x = self.op("Add", [x, again], "x3", WIDTH)

        four = self.codes("QuantizeRowsInt4", x, "four", WIDTH)
        weight = self.packed("binary.weight", B1R, WIDTH, WIDTH)
        factor = self.floats("binary.factor", self.random.uniform(0.5, 1.5, WIDTH))
        total = self.op("TernaryMatMul", [four[0], weight], "binary.sum", WIDTH, S32)
        x = self.op("Rescale", [total, four[1], factor], "x4", WIDTH)

        norm = self.floats("headed.norm", self.random.uniform(0.5, 1.5, SIZE))
        epsilon = float_bits(1e-5)
        h = self.op("RmsNorm", [x, norm], "headed", WIDTH, attributes=[epsilon, HEADS])
        trits = self.packed("fine.weight", P2R, WIDTH, WIDTH)
        h = self.high_and_low(h, "TernaryMatMul", trits, "fine")
        ints = self.random.integers(-127, 128, (WIDTH, WIDTH)).astype("i1")
        h = self.high_and_low(h, "DenseMatMul", self.tensor("dense.weight", S8, ints), "dense")

        gate = self.packed("gate2.weight", Q4R, INNER, WIDTH)
        up = self.packed("up2.weight", B1R, INNER, WIDTH)
        down = self.packed("down2.weight", P2R, WIDTH, INNER)
        gate_scale = self.floats("gate2.scale", self.random.uniform(0.01, 0.02, (1, INNER)))
        up_scale = self.halves("up2.scale", (1, 1))
        down_scale = self.halves("down2.scale", (INNER // GROUP, WIDTH))
        q, scale = self.codes("QuantizeGroups", h, "grouped", WIDTH, WIDTH // GROUP)
        gate = self.grouped([q, gate, gate_scale, scale], "gate2", INNER)
        up = self.grouped([q, up, up_scale, scale], "up2", INNER)
        gate = self.op("Silu", [gate], "silu", INNER)
        gated = self.op("Mul", [gate, up], "gated2", INNER)
        high, low, scale = self.codes("QuantizeRowsInt16", gated, "inner2", INNER)
        down = self.grouped([high, down, down_scale, scale, low], "down2", WIDTH)
        return self.op("Add", [x, down], "x5", WIDTH)

    def high_and_low(
        self, x: tuple[int, int], product: str, weight: tuple[int, int], name: str
    ) -> tuple[int, int]:
        """Quantize to int16 and multiply: two products, then Rescale."""
        high, low, scale = self.codes("QuantizeRowsInt16", x, name, WIDTH)
        factor = self.floats(f"{name}.factor", self.random.uniform(0.5, 1.5, 1))
        sum_ = self.op(product, [high, weight], f"{name}.sum", WIDTH, S32)
        low_sum = self.op(product, [low, weight], f"{name}.low_sum", WIDTH, S32)
        return self.op("Rescale", [sum_, scale, factor, low_sum], name, WIDTH)

    def grouped(self, inputs: list[tuple[int, int]], name: str, n: int) -> tuple[int, int]:
        """Multiply by a matrix with scales in groups: codes, weight, its scale, scale (, low)."""
        return self.op("GroupMatMul", inputs, name, n, attributes=[GROUP])

    def codes(
        self, op: str, x: tuple[int, int], name: str, columns: int, scales: int = 1
    ) -> list[tuple[int, int]]:
        """Quantize: codes, of int16 high and low ones, then their scales."""
        names = [f"{name}.high", f"{name}.low"] if op == "QuantizeRowsInt16" else [f"{name}.q"]
        made = [self.value(each, S8, columns, self.rows) for each in names]
        made.append(self.value(f"{name}.scale", F32, scales, self.rows))
        self.add(op, [x], made, [GROUP] if op == "QuantizeGroups" else [])
        return made

    def quantized(
        self, x: tuple[int, int], name: str, columns: int
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Normalize and quantize: codes and their scale."""
        weight = self.floats(f"{name}.norm", self.random.uniform(0.5, 1.5, columns))
        attributes = [float_bits(1e-5), 1]
        h = self.op("RmsNorm", [x, weight], f"{name}.h", columns, attributes=attributes)
        q = self.value(f"{name}.q", S8, columns, self.rows)
        scale = self.value(f"{name}.scale", F32, 1, self.rows)
        self.add("QuantizeRows", [h], [q, scale])
        return q, scale

    def linear(
        self, x: tuple[tuple[int, int], tuple[int, int]], name: str, n: int, k: int
    ) -> tuple[int, int]:
        """Multiply codes by a ternary matrix and rescale."""
        q, scale = x
        weight = self.ternary(f"{name}.weight", n, k)
        factor = self.floats(f"{name}.factor", self.random.uniform(0.5, 1.5, 1))
        total = self.op("TernaryMatMul", [q, weight], f"{name}.sum", n, S32)
        return self.op("Rescale", [total, scale, factor], name, n)

    def ternary(self, name: str, n: int, k: int) -> tuple[int, int]:
        """Add a matrix of random trits."""
        return self.packed(name, P2R, n, k)

    def packed(
        self, name: str, layout: int, n: int, k: int, weights: np.ndarray | None = None
    ) -> tuple[int, int]:
        """Add a packed matrix; without weights, of random ones."""
        if weights is None:
            least, most = {P2R: (-1, 1), B1R: (0, 1), Q4R: (-8, 7)}[layout]
            weights = self.random.integers(least, most + 1, (n, k))
            weights = 2 * weights - 1 if layout == B1R else weights
        found = self.tensor(name, U8, pack(layout, weights))
        tensor = self.file.tensors[found[1]]
        tensor.layout, tensor.rank, tensor.shape = layout, 2, [n, k, 0, 0]
        return found

    def halves(self, name: str, shape: tuple[int, int]) -> tuple[int, int]:
        """Add random f16 scales."""
        return self.tensor(name, F16, self.random.uniform(0.01, 0.02, shape).astype("<f2"))

    def floats(self, name: str, values: np.ndarray) -> tuple[int, int]:
        """Add a plain tensor of f32."""
        return self.tensor(name, F32, values.astype("<f4"))

    def tensor(
        self,
        name: str,
        dtype: int,
        values: np.ndarray,
    ) -> tuple[int, int]:
        """Add a plain tensor."""
        file = self.file
        file.data += bytes(-len(file.data) % 64)
        at, stored = len(file.data), values.tobytes()
        file.data += stored
        shape = [*values.shape, 0, 0, 0][:4]
        where = file.string(name)
        file.tensors.append(Tensor(where, dtype, PLAIN, values.ndim, shape, at, len(stored)))
        return TENSOR, len(file.tensors) - 1

    def value(
        self, name: str, dtype: int, columns: int, row_kind: int = CALL, role: int = INTERNAL
    ) -> tuple[int, int]:
        """Add a value that no op makes yet."""
        self.file.values.append(Value(self.file.string(name), dtype, row_kind, 0, columns, role))
        return VALUE, len(self.file.values) - 1

    def op(
        self,
        name: str,
        inputs: list[tuple[int, int]],
        output: str,
        columns: int,
        dtype: int = F32,
        attributes: Sequence[int] = (),
    ) -> tuple[int, int]:
        """Add an op of one output, and that."""
        made = self.value(output, dtype, columns, self.rows)
        self.add(name, inputs, [made], attributes)
        return made

    def add(
        self,
        name: str,
        inputs: list[tuple[int, int]],
        outputs: list[tuple[int, int]],
        attributes: Sequence[int] = (),
    ) -> None:
        """Add an op."""
        file = self.file
        op = Op(CODES[name], len(file.operands), len(inputs), len(outputs))
        op.attributes = [*attributes, 0, 0, 0, 0][:4]
        file.ops.append(op)
        self.names.append(name)
        file.operands += [*inputs, *outputs]

    def fuse(self) -> None:
        """Mark every run of ops that is a fusion, the first and longest first."""
        at = 0
        while at < len(self.names):
            for names, code in FUSIONS.items():
                if tuple(self.names[at : at + len(names)]) == names:
                    self.file.ops[at].fusion, self.file.ops[at].covers = code, len(names)
            at += max(1, self.file.ops[at].covers)

    def assign_slots(self) -> None:
        """Give every value its slots in both plans."""
        file = self.file
        one_by_one = [[op] for op in file.ops]
        fused, rest = [], list(file.ops)
        while rest:
            count = rest[0].covers or 1
            fused.append(rest[:count])
            rest = rest[count:]
        for index, slot in _slots(file, one_by_one).items():
            file.values[index].slot = slot
        for index, slot in _slots(file, fused).items():
            file.values[index].fused_slot = slot


def _slots(file: Bitx, steps: list[list[Op]]) -> dict[int, int]:
    """Return a slot per value; NONE for one that lives inside one step of several ops."""
    made, used = _uses(file, steps)
    given = [index for index, value in enumerate(file.values) if value.role in (INPUT, STATE)]
    slots = {index: slot for slot, index in enumerate(given)}
    count, free = len(given), list[int]()
    for step, ops in enumerate(steps):
        for index in (i for i in made if made[i] == step and i not in slots):
            if used[index] == {step} and not _leaves(file, ops, index):
                slots[index] = NONE
            elif free:
                slots[index] = free.pop()
            else:
                slots[index], count = count, count + 1
        for index, slot in slots.items():
            ends = max(used[index]) == step and file.values[index].role in (INTERNAL, INPUT)
            if ends and slot != NONE:
                free.append(slot)
    return slots


def _uses(file: Bitx, steps: list[list[Op]]) -> tuple[dict[int, int], dict[int, set[int]]]:
    """Return the step that makes each value, and the steps that make or read it."""
    made: dict[int, int] = {}
    used: dict[int, set[int]] = {}
    for step, op in ((step, op) for step, ops in enumerate(steps) for op in ops):
        operands = file.operands[op.first : op.first + op.inputs + op.outputs]
        for position, (kind, index) in enumerate(operands):
            if kind == VALUE:
                used.setdefault(index, set()).add(step)
                if position >= op.inputs:
                    made.setdefault(index, step)
    return made, used


def _leaves(file: Bitx, ops: list[Op], index: int) -> bool:
    """Say whether a value is an output of the last op that a fusion covers."""
    end = ops[-1]
    outputs = file.operands[end.first + end.inputs : end.first + end.inputs + end.outputs]
    return (VALUE, index) in outputs


def pack(layout: int, weights: np.ndarray) -> np.ndarray:
    """Pack weights (n, k) in a layout of FORMAT.md, section 3.3."""
    if layout == T5X3:
        return _pack_t5x3(weights)
    tile = TILE_ROWS[layout]
    n, k = (-(-size // unit) * unit for size, unit in zip(weights.shape, (tile, 16), strict=True))
    padding_bits = -1 if layout == B1R else 0
    padded = np.full((n, k), padding_bits, np.int64)
    padded[: weights.shape[0], : weights.shape[1]] = weights
    packed = np.zeros((n // tile, k // 4, 16), np.uint8)
    for lane in range(4):
        for i in range(4):
            for field in range(tile // 4):
                w = padded[4 * field + lane :: tile, i::4]
                packed[:, :, 4 * lane + i] |= _bits(layout, field, w).astype(np.uint8)
    return packed.reshape(-1)


def _pack_t5x3(weights: np.ndarray) -> np.ndarray:
    """Pack weights (n, k): eight codes of three rows in five bytes of a lane and column."""
    n, k = (-(-size // unit) for size, unit in zip(weights.shape, (12, 32), strict=True))
    padded = np.zeros((12 * n, 32 * k), np.int64)
    padded[: weights.shape[0], : weights.shape[1]] = weights
    packed = np.zeros((n, k, 5, 16), np.uint8)
    for lane in range(4):
        for i in range(4):
            rows = [padded[4 * digit + lane :: 12, i::4] + 1 for digit in range(3)]
            code = (rows[0] + 3 * rows[1] + 9 * rows[2]).reshape(n, k, 8)
            low = [code[..., 5] % 8, code[..., 5] // 8 * 2 + code[..., 7] // 8 % 2]
            low += [code[..., 6] % 8, code[..., 6] // 8 * 2 + code[..., 7] // 16, code[..., 7] % 8]
            packed[..., 4 * lane + i] = code[..., :5] * 8 + np.stack(low, axis=-1)
    return packed.reshape(-1)


def _bits(layout: int, field: int, w: np.ndarray) -> np.ndarray:
    """Return what weights add to a byte, as the field of that number."""
    if layout == B1R:
        return (w > 0).astype(np.int64) << field
    if layout == Q4R:
        return w + 8 if field == 0 else (w & 15) << 4
    return (w & 3 if field == LAST_FIELD else w + 1) << (2 * field)


def float_bits(value: float) -> int:
    """Return the bits of an f32."""
    bits: int = struct.unpack("<I", struct.pack("<f", value))[0]
    return bits


def edited(file: bytes, at: int, form: str, change: Callable[[int], int]) -> bytes:
    """Return the file with one number changed and its header sealed again."""
    changed = bytearray(file)
    (number,) = struct.unpack_from(form, file, at)
    struct.pack_into(form, changed, at, change(number) % (1 << 8 * struct.calcsize(form)))
    return sealed(bytes(changed))
