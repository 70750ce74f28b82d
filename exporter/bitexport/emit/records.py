"""The fixed-size records of a .bitx file (targets/FORMAT.md, section 3), packed."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from bitexport.models.parts.facts import Facts
from bitexport.models.parts.stored import StoredMatrix
from bitexport.passes.plan import DTYPES, Plan

NONE = 0xFFFFFFFF


class Strings:
    """The strings section: every string once, each with a zero byte behind it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._places: dict[str, tuple[int, int]] = {}

    def place(self, text: str) -> tuple[int, int]:
        """Return offset and bytes of a string, adding it when it is new."""
        if text not in self._places:
            raw = text.encode("utf-8")
            self._places[text] = (len(self.data), len(raw))
            self.data += raw + b"\0"
        return self._places[text]


def pack_facts(facts: Facts, plan: Plan, strings: Strings) -> bytes:
    """Section 3.1."""
    index = {value.name: at for at, value in enumerate(plan.values)}
    eos = (*facts.eos, *[NONE] * (4 - len(facts.eos)))
    return struct.pack(
        "<16I4I16x", int(plan.is_language_model), facts.vocabulary, facts.context, facts.hidden,
        facts.layers, facts.heads, facts.kv_heads, facts.head_size,
        NONE if facts.bos is None else facts.bos, len(facts.eos), *eos,
        *strings.place(facts.name), *strings.place(facts.family),
        NONE if facts.tokens is None else index[facts.tokens],
        NONE if facts.logits is None else index[facts.logits],
    )  # fmt: skip


def pack_tensors(
    plan: Plan, tensors: Mapping[str, StoredMatrix], offsets: Mapping[str, int], strings: Strings
) -> bytes:
    """Section 3.4."""
    records = bytearray()
    for name in plan.tensors:
        tensor = tensors[name]
        shape = (*tensor.logical_shape, *[0] * (4 - len(tensor.logical_shape)))
        records += struct.pack(
            "<2I3I4I4xQQ8x", *strings.place(name), DTYPES[tensor.dtype], tensor.layout_id,
            len(tensor.logical_shape), *shape, offsets[name], tensor.nbytes,
        )  # fmt: skip
    return bytes(records)


def pack_values(plan: Plan, strings: Strings) -> bytes:
    """Section 3.5."""
    return b"".join(
        struct.pack(
            "<2I7I12x", *strings.place(value.name), value.dtype, value.row_kind, value.rows,
            value.columns, value.role, value.slot,
            NONE if value.fused_slot is None else value.fused_slot,
        )
        for value in plan.values
    )  # fmt: skip


def pack_ops(plan: Plan) -> bytes:
    """Section 3.6."""
    records, first = bytearray(), 0
    for op in plan.ops:
        records += struct.pack(
            "<2I2H2I4I4x", op.op.code, first, len(op.inputs), len(op.outputs), op.fusion,
            op.fusion_count, *op.attributes,
        )  # fmt: skip
        first += len(op.inputs) + len(op.outputs)
    return bytes(records)


def pack_operands(plan: Plan) -> bytes:
    """Section 3.7."""
    pairs = [
        pair
        for op in plan.ops
        for pair in (
            *((2 if operand.is_tensor else 1, operand.index) for operand in op.inputs),
            *((1, output) for output in op.outputs),
        )
    ]
    return b"".join(struct.pack("<2I", *pair) for pair in pairs)
