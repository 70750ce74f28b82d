"""The identity of what a file computes, whatever its layouts and context (FORMAT.md, 3.12)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bitexport.emit.records import NONE
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.stored import PLAIN, StoredMatrix
from bitexport.passes.plan import DTYPES, Plan

VERSION = 1
TABLE_ROWS = 2
"""Rows of RoPE tables that count: the longer the context, the more there are."""


def rope_tables(plan: Plan) -> frozenset[str]:
    """Return the names of the tensors that have a row for every position of the context."""
    return frozenset(
        plan.tensors[operand.index]
        for op in plan.ops
        if op.op.name == "Rope"
        for operand in op.inputs
        if operand.is_tensor
    )


class Contents:
    """SHA-256 of the elements of tensors, fed with the rows that are packed as they pass."""

    def __init__(self, plan: Plan) -> None:
        self._tables = rope_tables(plan)
        self._found: dict[str, bytes] = {}
        self._name, self._rows = "", 0
        self._sha = hashlib.sha256()

    def begin(self, name: str) -> None:
        """Begin a tensor."""
        self._name, self._rows, self._sha = name, 0, hashlib.sha256()

    def add(self, rows: NDArray[np.generic]) -> None:
        """Take the next rows of the tensor."""
        left = TABLE_ROWS - self._rows if self._name in self._tables else len(rows)
        self._rows += len(rows)
        if left > 0:
            self._sha.update(np.ascontiguousarray(rows[:left]).data)

    def end(self) -> None:
        """End the tensor."""
        self._found[self._name] = self._sha.digest()

    def identity(self, plan: Plan, tensors: Mapping[str, StoredMatrix], facts: Facts) -> bytes:
        """Return the section: what is computed, of every tensor that has passed."""
        described = hashlib.sha256(_head(plan, facts))
        for value in plan.values:
            described.update(_name(value.name))
            described.update(
                struct.pack("<5I", value.dtype, value.row_kind, value.rows, value.columns,
                            value.role)
            )  # fmt: skip
        for op in plan.ops:
            operands = [(2 if each.is_tensor else 1, each.index) for each in op.inputs]
            operands += [(1, output) for output in op.outputs]
            described.update(
                struct.pack("<7I", op.op.code, len(op.inputs), len(op.outputs), *op.attributes)
            )
            described.update(b"".join(struct.pack("<2I", *pair) for pair in operands))
        for name in plan.tensors:
            described.update(_name(name) + _shape(tensors[name], is_table=name in self._tables))
            described.update(self._found[name])
        return struct.pack("<I", VERSION) + described.digest()


def _head(plan: Plan, facts: Facts) -> bytes:
    index = {value.name: at for at, value in enumerate(plan.values)}
    return struct.pack(
        "<7I", VERSION, plan.is_language_model,
        NONE if facts.tokens is None else index[facts.tokens],
        NONE if facts.logits is None else index[facts.logits],
        len(plan.values), len(plan.ops), len(plan.tensors),
    )  # fmt: skip


def _name(name: str) -> bytes:
    raw = name.encode("utf-8")
    return struct.pack("<I", len(raw)) + raw


def _shape(tensor: StoredMatrix, *, is_table: bool) -> bytes:
    """Describe the elements, as they are before they are packed."""
    shape = [*tensor.logical_shape, *[0] * (4 - len(tensor.logical_shape))]
    if is_table:
        shape[0] = 0
    dtype = DTYPES[PLAIN[tensor.matrix.kind]]
    return struct.pack("<6I", dtype, len(tensor.logical_shape), *shape)
