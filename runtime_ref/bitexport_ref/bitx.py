"""Reads a .bitx file, from FORMAT.md and nothing else, and says which rule a broken one breaks."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bitexport_ref.bitx_records import (
    FORMAT,
    NONE,
    UNSUPPORTED,
    Bitx,
    BitxError,
    Dtype,
    Facts,
    Layout,
    NetworkTest,
    Op,
    OpCode,
    Operand,
    OperandKind,
    Role,
    RowKind,
    Section,
    SelfTest,
    Tensor,
    Value,
    require,
)
from bitexport_ref.plan_rules import check_plan
from bitexport_ref.stored import FileBytes

__all__ = ["Bitx", "BitxError", "check_hashes", "network_test", "open_bitx", "plan_trace_names",
           "provenance", "read_bitx", "self_test", "tensor_bytes"]  # fmt: skip

Blob = bytes | FileBytes

MAGIC = b"BITX\r\n\x1a\n"
FORMAT_VERSION = 1
RUNTIME_VERSION = 1
HEADER_BYTES = 64
MOST_SECTIONS = 32
MOST_COLUMNS = 1 << 24
CHAIN_BYTES = 16
SELF_TEST_HEAD_BYTES = 16
HASHED_AT_ONCE = 1 << 22

FACTS, STRINGS, TENSORS, VALUES, OPS, OPERANDS, DATA = 1, 2, 4, 5, 6, 7, 8
TOKENIZER, CHAT, GENERATION, SELF_TEST, PROVENANCE, ARITHMETIC = 9, 10, 11, 12, 13, 14
RECORD_BYTES = {
    FACTS: 96, STRINGS: 1, TENSORS: 64, VALUES: 48, OPS: 40, OPERANDS: 8, DATA: 1,
    TOKENIZER: 1, CHAT: 1, GENERATION: 64, SELF_TEST: 1, PROVENANCE: 1, ARITHMETIC: 1,
}  # fmt: skip
# Rows and columns that a matrix is padded to multiples of, and the bytes of so many (section 3.3).
PACKED = {
    Layout.P2R: (16, 16, 64),
    Layout.B1R: (32, 16, 64),
    Layout.Q4R: (8, 16, 64),
    Layout.P2B: (16, 24, 96),
    Layout.T5X3: (12, 32, 80),
    Layout.P16: (8, 10, 16),
}
REQUIRED = (FACTS, STRINGS, TENSORS, VALUES, OPS, OPERANDS, DATA)


# ---- opening: R1 to R23 ----------------------------------------------------------------------


def open_bitx(path: str | os.PathLike[str]) -> Bitx:
    """Open a .bitx file and check its structure, R1 to R23; tensors are read when asked for."""
    return read_bitx(FileBytes(Path(path)))


def read_bitx(blob: Blob) -> Bitx:
    """Check the structure of a .bitx file, R1 to R23."""
    min_runtime, count = _read_header(blob)
    sections = _read_sections(blob, count)
    by_id = {section.id: section for section in sections}
    strings = blob[by_id[STRINGS].offset : by_id[STRINGS].end]
    raw_values = _records(blob, by_id[VALUES], "<9I12s")
    facts = _read_facts(blob, by_id[FACTS], strings, raw_values)
    tensors = _read_tensors(blob, by_id[TENSORS], by_id[DATA], strings)
    values = _read_values(raw_values, strings)
    ops = _read_ops(blob, by_id[OPS], by_id[OPERANDS], len(values), len(tensors))
    bitx = Bitx(blob, min_runtime, sections, facts, tensors, values, ops)
    check_plan(bitx)
    return bitx


def _read_header(blob: Blob) -> tuple[int, int]:
    """Check R1 to R4; return the minimum runtime version and the number of sections."""
    size = len(blob)
    require(1, size >= HEADER_BYTES, f"{size} bytes", status="BITX_E_MAGIC")
    magic, version, min_runtime, said, count, header, digest = struct.unpack(
        "<8sIIQII32s", blob[:HEADER_BYTES]
    )
    require(1, magic == MAGIC, f"the file begins with {magic!r}", status="BITX_E_MAGIC")
    require(1, header == HEADER_BYTES, f"a header of {header} bytes", status="BITX_E_MAGIC")
    known = version == FORMAT_VERSION and min_runtime <= RUNTIME_VERSION
    versions = f"format {version}, minimum runtime {min_runtime}"
    require(2, known, versions, status="BITX_E_VERSION")
    require(3, said == size, f"{size} bytes, the header says {said}", status="BITX_E_TRUNCATED")
    # The table must be readable before R4 can be asked.
    table_end = HEADER_BYTES * (1 + count)
    require(5, 1 <= count <= MOST_SECTIONS and table_end <= size, f"{count} sections")
    found = hashlib.sha256(blob[:32] + blob[HEADER_BYTES:table_end]).digest()
    require(4, found == digest, "the header or section table was changed", status="BITX_E_HASH")
    return min_runtime, count


def _read_sections(blob: Blob, count: int) -> tuple[Section, ...]:
    """Check R5 to R7; return the section table."""
    sections = []
    table = blob[HEADER_BYTES : HEADER_BYTES * (1 + count)]
    for section_id, reserved, *rest in struct.iter_unpack("<IIQQQ32s", table):
        known = section_id in RECORD_BYTES
        require(5, known, f"section id {section_id} is not known", status=UNSUPPORTED)
        require(5, reserved == 0, f"section {section_id}: a reserved field is not 0")
        sections.append(Section(section_id, *rest))
    ids = [section.id for section in sections]
    require(5, ids == sorted(set(ids)), f"section ids {ids} do not increase")
    for section_id in REQUIRED:
        require(5, section_id in ids, f"section {section_id} is missing")
    end = HEADER_BYTES * (1 + count)
    for section in sections:
        start = _round_up(end)
        place = f"section {section.id} at {section.offset}, {section.size} bytes"
        require(6, section.offset == start, f"{place}: it has to start at {start}")
        require(6, section.end <= len(blob), f"{place}: past the end of the file")
        require(6, not any(blob[end:start]), f"{place}: the padding before it is not zero")
        record = RECORD_BYTES[section.id]
        require(7, section.size == section.records * record, f"{place}: {section.records} records")
        end = section.end
    require(6, end == len(blob), f"the last section ends at {end}, the file at {len(blob)}")
    for section in sections:
        alone = section.id not in {FACTS, GENERATION} or section.records == 1
        require(7, alone, f"section {section.id}: {section.records} records")
    return tuple(sections)


def _read_facts(
    blob: Blob, section: Section, strings: bytes, values: Sequence[tuple[Any, ...]]
) -> Facts:
    """Check R8, and R9 for its strings."""
    kind, *numbers = struct.unpack("<24I", blob[section.offset : section.end])
    vocabulary, context, hidden, layers, heads, kv_heads, head_size, bos, eos_count = numbers[:9]
    eos, (token_value, logits_value), reserved = numbers[9:13], numbers[17:19], numbers[19:]
    require(8, kind in (0, 1), f"kind {kind}")
    require(8, not any(reserved), "a reserved field of the facts is not 0")
    require(8, eos_count <= len(eos), f"{eos_count} end-of-sequence tokens")
    unused = eos[eos_count:]
    require(8, unused == [NONE] * len(unused), "an unused end-of-sequence token is not NONE")
    if kind == 1:
        require(8, vocabulary > 0, "a language model without vocabulary")
        require(8, context > 0, "a language model without context")
        special = ([] if bos == NONE else [bos]) + eos[:eos_count]
        for token in special:
            inside = token < vocabulary
            require(8, inside, f"token {token} is outside the vocabulary of {vocabulary}")
        for what, index, wanted in (
            ("token", token_value, (Dtype.S32, Role.INPUT, 1)),
            ("logits", logits_value, (Dtype.F32, Role.OUTPUT, vocabulary)),
        ):
            require(8, index < len(values), f"the {what} value {index} does not exist")
            _, _, dtype, rows, _, columns, role, *_ = values[index]
            found = (dtype, role, columns)
            require(8, found == wanted, f"the {what} value {index}: dtype, role, columns {found}")
            counted = rows == RowKind.CALL or (rows, role) == (RowKind.KEPT, Role.OUTPUT)
            require(8, counted, f"the {what} value {index}: row kind {rows}")
    else:
        without = (token_value, logits_value) == (NONE, NONE)
        require(8, without, "a network with a token or logits value")
    return Facts(
        kind == 1, vocabulary, context, hidden, layers, heads, kv_heads, head_size,
        _unless_none(bos), tuple(eos[:eos_count]),
        _string(strings, numbers[13], numbers[14]), _string(strings, numbers[15], numbers[16]),
        _unless_none(token_value), _unless_none(logits_value),
    )  # fmt: skip


def _read_tensors(
    blob: Blob, section: Section, data: Section, strings: bytes
) -> tuple[Tensor, ...]:
    """Check R10 to R13, and R9 for names."""
    tensors: list[Tensor] = []
    end = data.offset
    for index, record in enumerate(_records(blob, section, "<10IQQQ")):
        at = f"tensor {index}"
        name_at, name_bytes, dtype, layout, rank, *dims, reserved, offset, size, reserved_2 = record
        name = _string(strings, name_at, name_bytes)
        require(10, dtype in list(Dtype), f"{at}: dtype {dtype}", status=UNSUPPORTED)
        require(10, layout in list(Layout), f"{at}: layout {layout}", status=UNSUPPORTED)
        suits = layout == Layout.PLAIN or (rank, dtype) == (2, Dtype.U8)
        require(10, suits, f"{at}: layout {layout}, rank {rank}, dtype {dtype} do not suit")
        require(11, rank in (1, 2), f"{at}: rank {rank}")
        shape = tuple(dims[:rank])
        require(11, all(shape) and not any(dims[rank:]), f"{at}: dimensions {dims}, rank {rank}")
        require(11, reserved == reserved_2 == 0, f"{at}: a reserved field is not 0")
        tensor = Tensor(name, Dtype(dtype), Layout(layout), shape, offset, size)
        wanted = _tensor_bytes(tensor)
        require(12, size == wanted, f"{at}: {size} bytes, its shape asks for {wanted}")
        start = _round_up(end) if tensors else end
        require(13, offset == start, f"{at}: at {offset}, it has to start at {start}")
        require(13, offset + size <= data.end, f"{at}: past the end of the data section")
        require(13, not any(blob[end:start]), f"{at}: the padding before it is not zero")
        end = offset + size
        tensors.append(tensor)
    require(13, end == data.end, f"the last tensor ends at {end}, the data section at {data.end}")
    return tuple(tensors)


def _tensor_bytes(tensor: Tensor) -> int:
    """Return how many bytes dtype, layout and shape ask for."""
    if tensor.layout != Layout.PLAIN:
        n, k = tensor.shape
        rows, columns, size = PACKED[tensor.layout]
        return -(-n // rows) * -(-k // columns) * size
    elements = tensor.shape[0] * (tensor.shape[1] if len(tensor.shape) > 1 else 1)
    return elements * tensor.dtype.size


def _read_values(records: Sequence[tuple[Any, ...]], strings: bytes) -> tuple[Value, ...]:
    """Check R14 to R16, and R9 for names."""
    values = []
    for index, record in enumerate(records):
        at = f"value {index}"
        name_at, name_bytes, dtype, kind, rows, columns, role, slot, fused_slot, reserved = record
        name = _string(strings, name_at, name_bytes)
        require(14, dtype in list(Dtype), f"{at}: dtype {dtype}", status=UNSUPPORTED)
        require(14, kind in list(RowKind), f"{at}: row kind {kind}", status=UNSUPPORTED)
        require(14, role in list(Role), f"{at}: role {role}", status=UNSUPPORTED)
        require(15, (rows > 0) == (kind == RowKind.FIXED), f"{at}: row kind {kind}, {rows} rows")
        require(15, 1 <= columns <= MOST_COLUMNS, f"{at}: {columns} columns")
        state = (role == Role.STATE, kind == RowKind.CONTEXT)
        require(15, state[0] == state[1], f"{at}: role {role}, row kind {kind}")
        require(15, not any(reserved), f"{at}: a reserved field is not 0")
        require(16, slot < len(records), f"{at}: slot {slot}")
        left_out = fused_slot == NONE and role == Role.INTERNAL
        require(16, left_out or fused_slot < len(records), f"{at}: fused slot {fused_slot}")
        values.append(
            Value(name, Dtype(dtype), RowKind(kind), rows, columns, Role(role), slot,
                  _unless_none(fused_slot))
        )  # fmt: skip
    plans: list[list[int | None]] = [
        [value.slot for value in values],
        [value.fused_slot for value in values],
    ]
    for slots in plans:
        for index, value in enumerate(values):
            alone = value.role != Role.STATE or slots.count(slots[index]) == 1
            require(16, alone, f"value {index}: another value has the slot of this state")
    return tuple(values)


def _read_ops(
    blob: Blob, section: Section, operand_section: Section, values: int, tensors: int
) -> tuple[Op, ...]:
    """Check R17 and R18 as far as a record goes, and R21; the rest is `plan_rules`."""
    operands = _records(blob, operand_section, "<II")
    ops = []
    next_operand = 0
    for index, record in enumerate(_records(blob, section, "<IIHHIIIIIII")):
        at = f"op {index}"
        code, first, inputs, outputs, fusion, covers, *attributes, reserved = record
        require(17, code in list(OpCode), f"{at}: op code {code}", status=UNSUPPORTED)
        require(17, reserved == 0, f"{at}: a reserved field is not 0")
        last = first + inputs + outputs
        require(18, first == next_operand, f"{at}: first operand {first}, not {next_operand}")
        require(18, last <= len(operands), f"{at}: operands past the end of their section")
        named = []
        for kind, target in operands[first:last]:
            known = kind in list(OperandKind)
            require(21, known, f"{at}: operand kind {kind}")
            size = values if kind == OperandKind.VALUE else tensors
            require(21, target < size, f"{at}: operand {kind}:{target} does not exist")
            named.append(Operand(OperandKind(kind), target))
        ops.append(
            Op(OpCode(code), tuple(named[:inputs]), tuple(named[inputs:]), fusion, covers,
               (attributes[0], attributes[1], attributes[2], attributes[3]))
        )  # fmt: skip
        next_operand = last
    unread = len(operands) - next_operand
    require(18, unread == 0, f"{unread} operands belong to no op")
    return tuple(ops)


def _records(blob: Blob, section: Section, layout: str) -> list[tuple[Any, ...]]:
    """Return a section's records as tuples of numbers."""
    return list(struct.iter_unpack(layout, blob[section.offset : section.end]))


def _string(strings: bytes, offset: int, size: int) -> str:
    """Check R9; return the string."""
    at = f"the string at {offset}, {size} bytes"
    require(9, offset + size < len(strings), f"{at}: outside the strings section")
    text = strings[offset : offset + size]
    require(9, strings[offset + size] == 0, f"{at}: no zero byte after it")
    require(9, 0 not in text, f"{at}: a zero byte inside")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as failure:
        raise BitxError(9, FORMAT, f"{at}: not UTF-8") from failure


def _unless_none(number: int) -> int | None:
    """Return None for NONE."""
    return None if number == NONE else int(number)


def _round_up(number: int, step: int = 64) -> int:
    """Return the next multiple of a step."""
    return -(-number // step) * step


# ---- after opening ---------------------------------------------------------------------------


def check_hashes(bitx: Bitx) -> None:
    """Check R24: every section has its stored SHA-256.  Reads the whole file."""
    for section in bitx.sections:
        found = hashlib.sha256()
        for start in range(section.offset, section.end, HASHED_AT_ONCE):
            found.update(bitx.blob[start : min(section.end, start + HASHED_AT_ONCE)])
        same = found.digest() == section.sha256
        require(24, same, f"section {section.id} was changed", status="BITX_E_HASH")


def plan_trace_names(bitx: Bitx) -> tuple[str, ...]:
    """Return the names of all op outputs, in plan order.

    They are those of the graph, but a state, written in place, has the name of its input
    (`past_key_values.0.key`, where the graph's AppendCache writes `present.0.key`).
    """
    return tuple(
        bitx.values[output.index].name
        for output in itertools.chain.from_iterable(op.outputs for op in bitx.ops)
    )


def tensor_bytes(bitx: Bitx, tensor: Tensor) -> memoryview:
    """Return a tensor's bytes as they lie in the file."""
    return memoryview(bitx.blob[tensor.offset : tensor.offset + tensor.size])


def provenance(bitx: Bitx) -> dict[str, Any] | None:
    """Return where the model came from, or None when the file does not say."""
    section = bitx.section(PROVENANCE)
    if section is None:
        return None
    said = json.loads(bitx.blob[section.offset : section.end].decode("utf-8"))
    assert isinstance(said, dict)
    return said


def self_test(bitx: Bitx) -> SelfTest | None:
    """Check R25 and return the self-test of a language model, or None when the file has none."""
    section = bitx.section(SELF_TEST)
    if section is None or not bitx.facts.is_language_model:
        return None
    body = bitx.blob[section.offset : section.end]
    require(25, len(body) >= SELF_TEST_HEAD_BYTES, f"a self-test of {len(body)} bytes")
    prompt, generated, outputs, reserved = struct.unpack("<4I", body[:SELF_TEST_HEAD_BYTES])
    counts = f"{prompt} prompt tokens, {generated} generated, {outputs} op outputs"
    require(25, prompt >= 1 and generated >= 1 and reserved == 0, counts)
    chains_at = SELF_TEST_HEAD_BYTES + 4 * (prompt + generated)
    wanted = chains_at + CHAIN_BYTES * (1 + outputs)
    require(25, len(body) == wanted, f"{counts}: {len(body)} bytes, not {wanted}")
    require(25, outputs == len(plan_trace_names(bitx)), f"{counts}: not those of the plan")
    require(25, prompt + generated - 1 <= bitx.facts.context, f"{counts}: beyond the context")
    tokens = struct.unpack(f"<{prompt + generated}I", body[SELF_TEST_HEAD_BYTES:chains_at])
    for token in tokens:
        require(25, token < bitx.facts.vocabulary, f"token {token} is outside the vocabulary")
    chains = [body[at : at + CHAIN_BYTES] for at in range(chains_at, len(body), CHAIN_BYTES)]
    return SelfTest(tokens[:prompt], tokens[prompt:], chains[0], tuple(chains[1:]))


def network_test(bitx: Bitx) -> NetworkTest | None:
    """Check R31 and return the self-test of a network, or None when the file has none."""
    section = bitx.section(SELF_TEST)
    if section is None or bitx.facts.is_language_model:
        return None
    body = bitx.blob[section.offset : section.end]
    require(31, len(body) >= SELF_TEST_HEAD_BYTES, f"a self-test of {len(body)} bytes")
    count, tokens, outputs, reserved = struct.unpack("<4I", body[:SELF_TEST_HEAD_BYTES])
    said = f"{count} samples, {outputs} op outputs"
    require(31, count >= 1 and tokens == 0 and reserved == 0, said)
    inputs = [value for value in bitx.values if value.role == Role.INPUT]
    sizes = [max(value.rows, 1) * value.columns * value.dtype.size for value in inputs]
    require(31, outputs == len(plan_trace_names(bitx)), f"{said}: not those of the plan")
    wanted = SELF_TEST_HEAD_BYTES + count * sum(sizes) + CHAIN_BYTES * outputs
    require(31, len(body) == wanted and sum(sizes) > 0, f"{said}: {len(body)} bytes")
    at, samples = SELF_TEST_HEAD_BYTES, []
    for _ in range(count):
        sample = []
        for size in sizes:
            sample.append(body[at : at + size])
            at += size
        samples.append(tuple(sample))
    chains = tuple(body[at : at + CHAIN_BYTES] for at in range(at, len(body), CHAIN_BYTES))
    return NetworkTest(tuple(samples), chains)
