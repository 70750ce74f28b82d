"""bitx: a sound file is read as it was written; every rule broken once is named by its number."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from collections.abc import Callable
from typing import Any

import pytest

from bitexport_ref.bitx import (
    BitxError,
    check_hashes,
    open_bitx,
    plan_trace_names,
    provenance,
    read_bitx,
    self_test,
    tensor_bytes,
)
from bitexport_ref.bitx_records import Dtype, Layout, OpCode, Role, RowKind

NONE = 0xFFFFFFFF
F32, F16, BF16, S8, U8, S32 = 1, 2, 3, 4, 5, 6
FIXED, CALL, KEPT, CONTEXT = 0, 1, 2, 3
INTERNAL, INPUT, OUTPUT, STATE = 0, 1, 2, 3
FACTS, STRINGS, TENSORS, VALUES, OPS, OPERANDS, DATA = 1, 2, 4, 5, 6, 7, 8
SELF_TEST, PROVENANCE = 12, 13


def bits(number: float) -> int:
    return struct.unpack("<I", struct.pack("<f", number))[0]


# ---- a file as plain lists, packed straight from FORMAT.md -----------------------------------


@dataclasses.dataclass
class File:
    """Everything that a .bitx file says; `edits` change the packed bytes before hashing."""

    facts: dict[str, Any]
    tensors: list[dict[str, Any]]
    values: list[dict[str, Any]]
    ops: list[dict[str, Any]]
    extra: dict[int, bytes] = dataclasses.field(default_factory=dict)
    strings: bytearray = dataclasses.field(default_factory=bytearray)
    operand_edit: Callable[[list[list[int]]], None] = lambda operands: None
    section_edit: Callable[[dict[int, bytearray]], None] = lambda sections: None
    table_edit: Callable[[list[list[Any]]], None] = lambda table: None
    header_edit: Callable[[dict[str, Any]], None] = lambda header: None
    blob_edit: Callable[[bytearray], bytes | bytearray] = bytes

    def string(self, text: str | tuple[int, int]) -> tuple[int, int]:
        """Append a string; a pair is taken as it is."""
        if isinstance(text, tuple):
            return text
        encoded = text.encode()
        at = len(self.strings)
        self.strings += encoded + b"\0"
        return at, len(encoded)


def pack_facts(file: File) -> bytearray:
    """Pack section 3.1."""
    facts = file.facts
    return bytearray(
        struct.pack(
            "<24I",
            *(facts[key] for key in ["kind", "vocabulary", "context", "hidden", "layers"]),
            *(facts[key] for key in ["heads", "kv_heads", "head_size", "bos", "eos_count"]),
            *facts["eos"],
            *file.string(facts["name"]),
            *file.string(facts["family"]),
            facts["token_value"],
            facts["logits_value"],
            *facts["reserved"],
        )
    )


def pack(file: File) -> bytes:
    """Pack a file: sections, then table, then header."""
    sections = {FACTS: pack_facts(file)}
    data = bytearray()
    tensors = []
    for tensor in file.tensors:
        data += bytes(-len(data) % 64)
        tensors.append((tensor, len(data)))
        data += tensor["data"]
    names = [file.string(tensor["name"]) for tensor in file.tensors]
    value_names = [file.string(value["name"]) for value in file.values]
    sections[STRINGS] = file.strings
    sections[TENSORS] = bytearray(64 * len(tensors))
    sections[VALUES] = bytearray()
    for value, name in zip(file.values, value_names, strict=True):
        keys = ["dtype", "row_kind", "rows", "columns", "role", "slot", "fused_slot"]
        sections[VALUES] += struct.pack(
            "<9I12s", *name, *(value[key] for key in keys), value["reserved"]
        )
    operands: list[list[int]] = []
    sections[OPS] = bytearray()
    for op in file.ops:
        first = op.get("first", len(operands))
        named = [*op["inputs"], *op["outputs"]]
        counts = op.get("counts", (len(op["inputs"]), len(op["outputs"])))
        sections[OPS] += struct.pack(
            "<IIHHII4II",
            *(op["code"], first, *counts),
            *(op["fusion"], op["covers"], *op["attributes"], op["reserved"]),
        )
        operands += [list(operand) for operand in named]
    file.operand_edit(operands)
    sections[OPERANDS] = bytearray(b"".join(struct.pack("<II", *each) for each in operands))
    sections[DATA] = data
    for section_id, body in file.extra.items():
        sections[section_id] = bytearray(body)
    sections = dict(sorted(sections.items()))

    table: list[list[Any]] = []
    end = 64 + 64 * len(sections)
    records = {FACTS: 96, TENSORS: 64, VALUES: 48, OPS: 40, OPERANDS: 8}
    for section_id, body in sections.items():
        start = -(-end // 64) * 64
        count = len(body) // records.get(section_id, 1)
        table.append([section_id, 0, start, len(body), count, b""])
        end = start + len(body)
    data_start = next(entry[2] for entry in table if entry[0] == DATA)
    for index, ((tensor, offset), name) in enumerate(zip(tensors, names, strict=True)):
        fields = {"offset": data_start + offset, "bytes": len(tensor["data"]), **tensor}
        struct.pack_into(
            "<10IQQQ",
            sections[TENSORS],
            64 * index,
            *name,
            *(fields[key] for key in ["dtype", "layout", "rank"]),
            *(*fields["dims"], fields["reserved"]),
            *(fields["offset"], fields["bytes"], fields["reserved_2"]),
        )
    file.section_edit(sections)
    for entry in table:
        entry[5] = hashlib.sha256(sections[entry[0]]).digest()
    blob = bytearray(end)
    for entry in table:
        blob[entry[2] : entry[2] + entry[3]] = sections[entry[0]]
    file.table_edit(table)
    packed_table = b"".join(struct.pack("<IIQQQ32s", *entry) for entry in table)
    header = {"version": 1, "runtime": 1, "size": len(blob), "count": len(table), "bytes": 64}
    header["magic"] = b"BITX\r\n\x1a\n"
    file.header_edit(header)
    keys = ["magic", "version", "runtime", "size", "count", "bytes"]
    packed = struct.pack("<8sIIQII", *(header[key] for key in keys))
    blob[:32] = packed
    blob[32:64] = hashlib.sha256(packed + packed_table).digest()
    blob[64 : 64 + len(packed_table)] = packed_table
    return bytes(file.blob_edit(blob))


def tensor(name, dtype, dims, data, layout=0):
    return {
        "name": name, "dtype": dtype, "layout": layout, "rank": len(dims),
        "dims": [*dims, 0, 0, 0][:4], "reserved": 0, "reserved_2": 0, "data": bytes(data),
    }  # fmt: skip


def value(name, dtype, columns, role=INTERNAL, row_kind=CALL, rows=0):
    return {
        "name": name, "dtype": dtype, "row_kind": row_kind, "rows": rows, "columns": columns,
        "role": role, "slot": None, "fused_slot": None, "reserved": bytes(12),
    }  # fmt: skip


def op(code, inputs, outputs, attributes=(), fusion=(0, 0)):
    return {
        "code": code, "inputs": inputs, "outputs": outputs, "reserved": 0,
        "fusion": fusion[0], "covers": fusion[1],
        "attributes": [*attributes, 0, 0, 0, 0][:4],
    }  # fmt: skip


def v(index):
    return (1, index)


def t(index):
    return (2, index)


def language_model() -> File:
    """Return a small plan of the ops of BitNet b1.58 2B4T, with three of the fusions."""
    file = File(
        facts={
            "kind": 1, "vocabulary": 5, "context": 8, "hidden": 4, "layers": 1, "heads": 1,
            "kv_heads": 1, "head_size": 4, "bos": 1, "eos_count": 1, "eos": [2, NONE, NONE, NONE],
            "name": "tiny", "family": "test", "token_value": 0, "logits_value": 15,
            "reserved": [0] * 4,
        },
        tensors=[
            tensor("table", F32, [5, 4], range(80)),
            tensor("norm", F32, [4], bytes(16)),
            tensor("trits", U8, [3, 4], range(64), layout=1),
            tensor("trits.scale", F32, [1], bytes(4)),
            tensor("cos", F32, [8, 2], bytes(64)),
            tensor("sin", F32, [8, 2], bytes(64)),
            tensor("gain", F32, [3], bytes(12)),
            tensor("head", BF16, [5, 3], bytes(30)),
        ],
        values=[
            value("tokens", S32, 1, INPUT),
            value("x", F32, 4),
            value("turned", F32, 4),
            value("keys", F16, 4, STATE, CONTEXT),
            value("values", F16, 4, STATE, CONTEXT),
            value("seen", F32, 4),
            value("normed", F32, 4),
            value("codes", S8, 4),
            value("codes.scale", F32, 1),
            value("sum", S32, 3),
            value("y", F32, 3),
            value("relu", F32, 3),
            value("squared", F32, 3),
            value("gated", F32, 3),
            value("last", F32, 3, row_kind=KEPT),
            value("logits", F32, 5, OUTPUT, KEPT),
        ],
        ops=[
            op(1, [v(0), t(0)], [v(1)]),
            op(7, [v(1), t(4), t(5)], [v(2)], [1]),
            op(8, [v(3), v(2)], [v(3)], [1]),
            op(8, [v(4), v(1)], [v(4)], [1]),
            op(9, [v(2), v(3), v(4)], [v(5)], [1, 1, bits(0.5)]),
            op(2, [v(5), t(1)], [v(6)], [bits(1e-5), 1], fusion=(1, 2)),
            op(3, [v(6)], [v(7), v(8)]),
            op(4, [v(7), t(2)], [v(9)], fusion=(2, 2)),
            op(6, [v(9), v(8), t(3)], [v(10)]),
            op(10, [v(10)], [v(11)], fusion=(4, 3)),
            op(12, [v(11), v(11)], [v(12)]),
            op(12, [v(12), v(10)], [v(13)]),
            op(11, [v(13), t(6)], [v(14)]),
            op(5, [v(14), t(7)], [v(15)]),
        ],
    )  # fmt: skip
    for index, each in enumerate(file.values):
        each["slot"] = each["fused_slot"] = index
    for left_out in (6, 9, 11, 12):
        file.values[left_out]["fused_slot"] = NONE
    file.values[13]["slot"] = 1  # `x` is dead by then
    return file


def network() -> File:
    """Return a plan of one op, with a fixed number of rows."""
    file = language_model()
    file.facts.update(kind=0, vocabulary=0, context=0, bos=NONE, eos_count=0, eos=[NONE] * 4)
    file.facts.update(token_value=NONE, logits_value=NONE)
    file.tensors = [tensor("bias", F32, [3], bytes(12))]
    file.values = [
        value("x", F32, 3, INPUT, FIXED, rows=2),
        value("y", F32, 3, OUTPUT, FIXED, rows=2),
    ]
    file.values[0].update(slot=0, fused_slot=0)
    file.values[1].update(slot=1, fused_slot=1)
    file.ops = [op(11, [v(0), t(0)], [v(1)])]
    return file


def int8_model() -> File:
    """Return a plan with an int8 embedding and head, and the fusion of the latter."""
    file = network()
    file.facts.update(kind=1, vocabulary=5, context=8, token_value=0, logits_value=5)
    file.tensors = [tensor("table", S8, [5, 4], bytes(20)), tensor("scale", F32, [5], bytes(20))]
    file.values = [
        value("tokens", S32, 1, INPUT),
        value("x", F32, 4),
        value("codes", S8, 4),
        value("codes.scale", F32, 1),
        value("sum", S32, 5),
        value("logits", F32, 5, OUTPUT),
    ]
    for index, each in enumerate(file.values):
        each["slot"] = each["fused_slot"] = index
    file.values[4]["fused_slot"] = NONE
    file.ops = [
        op(1, [v(0), t(0), t(1)], [v(1)]),
        op(3, [v(1)], [v(2), v(3)]),
        op(5, [v(2), t(0)], [v(4)], fusion=(3, 2)),
        op(6, [v(4), v(3), t(1)], [v(5)]),
    ]
    return file


def number_slots(file: File, left_out: tuple[int, ...] = ()) -> File:
    """Give every value a slot of its own."""
    for index, each in enumerate(file.values):
        each["slot"] = each["fused_slot"] = index
    for index in left_out:
        file.values[index]["fused_slot"] = NONE
    return file


def group_model() -> File:
    """Return a plan of groups: a binary table, 4-bit weights, codes of 8 bits for each group."""
    file = network()
    file.facts.update(kind=1, vocabulary=5, context=8, token_value=0, logits_value=7)
    file.tensors = [
        tensor("table", U8, [5, 40], bytes(192), layout=2),
        tensor("table.scale", F16, [3, 5], bytes(30)),
        tensor("weight", U8, [6, 40], bytes(192), layout=3),
        tensor("weight.scale", F32, [3, 1], bytes(12)),
        tensor("head", U8, [5, 6], bytes(64), layout=1),
        tensor("head.scale", F16, [1, 5], bytes(10)),
    ]
    file.values = [
        value("tokens", S32, 1, INPUT),
        value("x", F32, 40),
        value("codes", S8, 40),
        value("scale", F32, 3),
        value("y", F32, 6),
        value("high", S8, 6),
        value("low", S8, 6),
        value("logits", F32, 5, OUTPUT),
        value("high.scale", F32, 1),
    ]
    file.ops = [
        op(18, [v(0), t(0), t(1)], [v(1)], [16]),
        op(16, [v(1)], [v(2), v(3)], [16]),
        op(17, [v(2), t(2), t(3), v(3)], [v(4)], [16]),
        op(15, [v(4)], [v(5), v(6), v(8)]),
        op(17, [v(5), t(4), t(5), v(8), v(6)], [v(7)], [16]),
    ]
    return number_slots(file)


def fine_model() -> File:
    """Return a plan with fusions 5 to 7, a norm of heads, an f16 table and codes of 4 bits."""
    file = network()
    file.facts.update(kind=1, vocabulary=5, context=8, token_value=0, logits_value=17)
    file.tensors = [
        tensor("table", F16, [5, 4], bytes(40)),
        tensor("norm", F32, [2], bytes(8)),
        tensor("signs", U8, [6, 4], bytes(64), layout=2),
        tensor("one", F32, [1], bytes(4)),
        tensor("head", S8, [5, 6], bytes(30)),
        tensor("square", F16, [6, 6], bytes(72)),
    ]
    file.values = [
        value("tokens", S32, 1, INPUT),
        value("x", F32, 4),
        value("normed", F32, 4),
        value("high", S8, 4),
        value("low", S8, 4),
        value("scale", F32, 1),
        value("sum", S32, 6),
        value("low_sum", S32, 6),
        value("gate", F32, 6),
        value("silu", F32, 6),
        value("up", F32, 6),
        value("gated", F32, 6),
        value("high2", S8, 6),
        value("low2", S8, 6),
        value("scale2", F32, 1),
        value("sum2", S32, 5),
        value("low_sum2", S32, 5),
        value("logits", F32, 5, OUTPUT),
        value("codes4", S8, 6),
        value("scale4", F32, 1),
    ]
    file.ops = [
        op(1, [v(0), t(0)], [v(1)]),
        op(2, [v(1), t(1)], [v(2)], [bits(1e-5), 2]),
        op(15, [v(2)], [v(3), v(4), v(5)]),
        op(4, [v(3), t(2)], [v(6)], fusion=(6, 3)),
        op(4, [v(4), t(2)], [v(7)]),
        op(6, [v(6), v(5), t(3), v(7)], [v(8)]),
        op(5, [v(8), t(5)], [v(10)]),
        op(13, [v(8)], [v(9)], fusion=(5, 2)),
        op(12, [v(9), v(10)], [v(11)]),
        op(14, [v(11)], [v(18), v(19)]),
        op(15, [v(11)], [v(12), v(13), v(14)]),
        op(5, [v(12), t(4)], [v(15)], fusion=(7, 3)),
        op(5, [v(13), t(4)], [v(16)]),
        op(6, [v(15), v(14), t(3), v(16)], [v(17)]),
    ]
    return number_slots(file, left_out=(6, 7, 9, 15, 16))


def self_test_bytes(prompt=(1, 2), generated=(3,), outputs=15, reserved=0) -> bytes:
    head = struct.pack("<4I", len(prompt), len(generated), outputs, reserved)
    tokens = (*prompt, *generated)
    chains = b"".join(bytes([number]) * 16 for number in range(1 + outputs))
    return head + struct.pack(f"<{len(tokens)}I", *tokens) + chains


# ---- sound files -----------------------------------------------------------------------------


def test_a_sound_file_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "model.bitx"
    path.write_bytes(pack(language_model()))
    bitx = open_bitx(path)
    check_hashes(bitx)
    assert bitx.facts.is_language_model
    assert (bitx.facts.name, bitx.facts.family) == ("tiny", "test")
    assert (bitx.facts.vocabulary, bitx.facts.context, bitx.facts.head_size) == (5, 8, 4)
    assert (bitx.facts.bos, bitx.facts.eos) == (1, (2,))
    assert (bitx.facts.token_value, bitx.facts.logits_value) == (0, 15)
    trits = bitx.tensors[2]
    assert (trits.name, trits.dtype, trits.layout) == ("trits", Dtype.U8, Layout.P2R)
    assert trits.shape == (3, 4)
    assert bytes(tensor_bytes(bitx, trits)) == bytes(range(64))
    keys = bitx.values[3]
    assert (keys.role, keys.row_kind, keys.dtype) == (Role.STATE, RowKind.CONTEXT, Dtype.F16)
    assert bitx.values[6].fused_slot is None
    assert [each.code for each in bitx.ops][:2] == [OpCode.EMBED, OpCode.ROPE]
    assert bitx.ops[4].attributes == (1, 1, bits(0.5), 0)
    assert self_test(bitx) is None
    assert provenance(bitx) is None


def test_every_op_output_has_its_name_in_plan_order():
    names = plan_trace_names(read_bitx(pack(language_model())))
    assert names == (
        "x", "turned", "keys", "values", "seen", "normed", "codes", "codes.scale", "sum", "y",
        "relu", "squared", "gated", "last", "logits",
    )  # fmt: skip


def test_a_network_has_neither_tokens_nor_logits():
    bitx = read_bitx(pack(network()))
    assert not bitx.facts.is_language_model
    assert (bitx.facts.bos, bitx.facts.eos, bitx.facts.token_value) == (None, (), None)


def test_a_table_and_head_of_int8_are_sound():
    assert read_bitx(pack(int8_model())).ops[2].fusion == 3


def test_groups_and_their_layouts_are_sound():
    bitx = read_bitx(pack(group_model()))
    layouts = [each.layout for each in bitx.tensors[::2]]
    assert layouts == [Layout.B1R, Layout.Q4R, Layout.P2R]
    assert [each.code for each in bitx.ops] == [
        OpCode.GROUP_EMBED,
        OpCode.QUANTIZE_GROUPS,
        OpCode.GROUP_MATMUL,
        OpCode.QUANTIZE_ROWS_INT16,
        OpCode.GROUP_MATMUL,
    ]
    assert bitx.ops[0].attributes == (16, 0, 0, 0)
    assert plan_trace_names(bitx)[-4:] == ("high", "low", "high.scale", "logits")


def test_scales_of_groups_may_be_shared():
    file = group_model()
    file.tensors[1] = tensor("table.scale", F32, [1, 1], bytes(4))
    file.values[3]["columns"] = 1
    file.ops[1] = op(3, [v(1)], [v(2), v(3)])
    assert read_bitx(pack(file)).values[3].columns == 1


def test_fusions_of_two_products_and_of_silu_are_sound():
    bitx = read_bitx(pack(fine_model()))
    assert [each.fusion for each in bitx.ops if each.fusion] == [6, 5, 7]
    assert bitx.ops[1].attributes[1] == 2


def test_a_file_on_disk_is_read_without_mapping_it(tmp_path):
    path = tmp_path / "model-of-this-test.bitx"
    path.write_bytes(pack(fine_model()))
    bitx = open_bitx(path)
    check_hashes(bitx)
    assert bytes(tensor_bytes(bitx, bitx.tensors[2])) == bytes(64)
    with open("/proc/self/maps") as maps:  # noqa: PTH123 - not a file on disk
        assert path.name not in maps.read()


def test_hashes_are_read_in_parts(monkeypatch):
    monkeypatch.setattr("bitexport_ref.bitx.HASHED_AT_ONCE", 7)
    check_hashes(read_bitx(pack(fine_model())))


def test_a_self_test_is_read_as_it_was_written():
    file = language_model()
    file.extra[SELF_TEST] = self_test_bytes()
    file.extra[PROVENANCE] = b'{"tool": "bitexport"}'
    bitx = read_bitx(pack(file))
    said = self_test(bitx)
    assert said is not None
    assert (said.prompt, said.generated) == ((1, 2), (3,))
    assert said.logits_chain == bytes(16)
    assert said.chains[14] == bytes([15]) * 16
    assert provenance(bitx) == {"tool": "bitexport"}


# ---- broken files: one fault each, named by what is wrong ------------------------------------

FAULTS: list[Any] = []


def fault(rule: int, status: str = "BITX_E_FORMAT", base: Callable[[], File] = language_model):
    """Register a function that breaks one rule of a sound file."""

    def register(breaks: Callable[[File], None]) -> Callable[[File], None]:
        name = breaks.__name__
        FAULTS.append(pytest.param(rule, status, base, breaks, id=f"R{rule}-{name}"))
        return breaks

    return register


def set_in(records: str, index: int, **fields: Any) -> Callable[[File], None]:
    """Return a fault that overwrites fields of one record."""
    return lambda file: getattr(file, records)[index].update(fields)


def simple(name: str, rule: int, change: Callable[[File], None], **options: Any) -> None:
    """Register a fault under a name."""
    change.__name__ = name
    fault(rule, **options)(change)


def blob_of(edit: Callable[[bytearray], bytes | bytearray]) -> Callable[[File], None]:
    return lambda file: setattr(file, "blob_edit", edit)


def header_of(**fields: Any) -> Callable[[File], None]:
    return lambda file: setattr(file, "header_edit", lambda header: header.update(fields))


def table_of(edit: Callable[[list[list[Any]]], Any]) -> Callable[[File], None]:
    return lambda file: setattr(file, "table_edit", edit)


def facts_of(**fields: Any) -> Callable[[File], None]:
    return lambda file: file.facts.update(fields)


def set_byte(blob: bytearray, at: int, byte: int) -> bytearray:
    blob[at] = byte
    return blob


MAGIC = {"status": "BITX_E_MAGIC"}
VERSION = {"status": "BITX_E_VERSION"}
TRUNCATED = {"status": "BITX_E_TRUNCATED"}
HASH = {"status": "BITX_E_HASH"}
UNSUPPORTED = {"status": "BITX_E_UNSUPPORTED"}

simple("file_is_empty", 1, blob_of(lambda blob: b""), **MAGIC)
simple("file_shorter_than_header", 1, blob_of(lambda blob: blob[:63]), **MAGIC)
simple("magic_without_carriage_return", 1, header_of(magic=b"BITX\n\n\x1a\n"), **MAGIC)
simple("header_size_wrong", 1, header_of(bytes=128), **MAGIC)
simple("format_version_2", 2, header_of(version=2), **VERSION)
simple("format_version_0", 2, header_of(version=0), **VERSION)
simple("runtime_too_old", 2, header_of(runtime=2), **VERSION)
simple("file_one_byte_short", 3, blob_of(lambda blob: blob[:-1]), **TRUNCATED)
simple("file_one_byte_long", 3, blob_of(lambda blob: blob + b"\0"), **TRUNCATED)
simple("header_hash_wrong", 4, blob_of(lambda blob: set_byte(blob, 40, blob[40] ^ 1)), **HASH)
simple("table_changed", 4, blob_of(lambda blob: set_byte(blob, 100, blob[100] ^ 1)), **HASH)

simple("no_sections", 5, header_of(count=0))
simple("too_many_sections", 5, header_of(count=33))
simple("section_count_huge", 5, header_of(count=0xFFFFFFFF))
simple("section_unknown", 5, lambda file: file.extra.update({15: b""}), **UNSUPPORTED)
simple("section_3", 5, lambda file: file.extra.update({3: b""}), **UNSUPPORTED)
simple("generation_defaults_twice", 7, lambda file: file.extra.update({11: bytes(128)}))
simple("section_twice", 5, table_of(lambda table: table[1].__setitem__(0, 1)))
simple("section_reserved_field", 5, table_of(lambda table: table[2].__setitem__(1, 1)))


@fault(5)
def section_ids_swapped(file: File) -> None:
    file.extra = {SELF_TEST: b"1234", PROVENANCE: b"{}"}

    def edit(table: list[list[Any]]) -> None:
        table[-1][0], table[-2][0] = table[-2][0], table[-1][0]

    file.table_edit = edit


@fault(5)
def section_missing(file: File) -> None:
    def edit(table: list[list[Any]]) -> None:
        table[-1][0] = PROVENANCE

    file.table_edit = edit


simple("section_not_at_end_of_table", 6, table_of(lambda table: table[0].__setitem__(2, 128)))
simple("section_hole", 6, table_of(lambda table: table[3].__setitem__(2, table[3][2] + 64)))
simple("section_past_end", 6, table_of(lambda table: table[-1].__setitem__(3, 2**40)))
simple("section_size_overflows", 6, table_of(lambda table: table[-1].__setitem__(3, 2**64 - 1)))
simple("section_offset_overflows", 6, table_of(lambda t: t[-1].__setitem__(2, 2**64 - 64)))
simple("section_padding_not_zero", 6, blob_of(lambda blob: set_byte(blob, 64 * 8 + 100, 1)))


@fault(6)
def file_longer_than_its_sections(file: File) -> None:
    file.header_edit = lambda header: header.update(size=header["size"] + 64)
    file.blob_edit = lambda blob: blob + bytes(64)


simple("records_do_not_fill_section", 7, table_of(lambda table: table[2].__setitem__(4, 7)))
simple("bytes_are_not_records", 7, table_of(lambda table: table[1].__setitem__(4, 1)))
simple("record_count_overflows", 7, table_of(lambda table: table[2].__setitem__(4, 2**63)))


@fault(7)
def facts_twice(file: File) -> None:
    file.extra[FACTS] = bytes(192)


simple("kind_2", 8, facts_of(kind=2))
simple("no_vocabulary", 8, facts_of(vocabulary=0))
simple("no_context", 8, facts_of(context=0))
simple("facts_reserved_field", 8, facts_of(reserved=[0, 0, 0, 1]))
simple("token_value_none", 8, facts_of(token_value=NONE))
simple("token_value_past_end", 8, facts_of(token_value=16))
simple("token_value_not_an_input", 8, set_in("values", 0, role=INTERNAL))
simple("token_value_f32", 8, set_in("values", 0, dtype=F32))
simple("token_value_two_columns", 8, set_in("values", 0, columns=2))
simple("logits_value_past_end", 8, facts_of(logits_value=16))
simple("logits_value_not_an_output", 8, facts_of(logits_value=13))
simple("logits_value_narrow", 8, set_in("values", 15, columns=4))
simple("token_value_with_kept_rows", 8, set_in("values", 0, row_kind=KEPT))
simple("logits_value_with_fixed_rows", 8, set_in("values", 15, row_kind=FIXED, rows=1))
simple("eos_used_is_none", 8, facts_of(eos_count=2))
simple("bos_outside_vocabulary", 8, facts_of(bos=5))
simple("eos_outside_vocabulary", 8, facts_of(eos=[5, NONE, NONE, NONE]))
simple("eos_count_5", 8, facts_of(eos_count=5))
simple("eos_unused_not_none", 8, facts_of(eos=[2, 3, NONE, NONE]))
simple("network_with_token_value", 8, facts_of(token_value=0), base=network)
simple("network_with_logits_value", 8, facts_of(logits_value=1), base=network)

simple("string_past_end", 9, facts_of(name=(100000, 1)))
simple("string_size_overflows", 9, facts_of(name=(1, 0xFFFFFFFF)))
simple("string_without_zero_byte", 9, facts_of(name=(0, 2)))
simple("string_with_zero_byte_inside", 9, facts_of(family=(0, 10)))
simple("tensor_name_past_end", 9, set_in("tensors", 1, name=(100000, 1)))
simple("value_name_past_end", 9, set_in("values", 1, name=(100000, 1)))


@fault(9)
def string_at_the_very_end(file: File) -> None:
    def edit(sections: dict[int, bytearray]) -> None:
        size = len(sections[STRINGS])
        struct.pack_into("<II", sections[FACTS], 56, size - 1, 1)

    file.section_edit = edit


@fault(9)
def string_not_utf8(file: File) -> None:
    def edit(sections: dict[int, bytearray]) -> None:
        sections[STRINGS][0] = 0xFF

    file.section_edit = edit


simple("tensor_dtype_0", 10, set_in("tensors", 0, dtype=0), **UNSUPPORTED)
simple("tensor_dtype_7", 10, set_in("tensors", 0, dtype=7), **UNSUPPORTED)
simple("tensor_layout_99", 10, set_in("tensors", 0, layout=99), **UNSUPPORTED)
simple("b1r_of_f32", 10, set_in("tensors", 0, layout=2))
simple("q4r_of_f32", 10, set_in("tensors", 0, layout=3))
simple("p2r_of_s8", 10, set_in("tensors", 2, dtype=S8))
simple("p2r_of_rank_1", 10, set_in("tensors", 2, rank=1, dims=[3, 0, 0, 0]))
simple("tensor_rank_0", 11, set_in("tensors", 1, rank=0))
simple("tensor_rank_3", 11, set_in("tensors", 0, rank=3, dims=[5, 4, 1, 0]))
simple("tensor_dimension_0", 11, set_in("tensors", 0, dims=[5, 0, 0, 0]))
simple("tensor_unused_dimension", 11, set_in("tensors", 1, dims=[4, 1, 0, 0]))
simple("tensor_reserved_field", 11, set_in("tensors", 1, reserved=1))
simple("tensor_second_reserved_field", 11, set_in("tensors", 1, reserved_2=1))
simple("tensor_bytes_wrong", 12, set_in("tensors", 0, bytes=79))
simple("tensor_shape_overflows", 12, set_in("tensors", 0, dims=[2**31, 2**31, 0, 0]))
simple("p2r_not_padded", 12, set_in("tensors", 2, bytes=3))
simple("tensor_offset_not_aligned", 13, set_in("tensors", 1, data=bytes(16), offset=1))
simple("tensors_overlap", 13, set_in("tensors", 2, data=bytes(64), offset=0))
simple("data_longer_than_tensors", 13, lambda file: file.extra.update({DATA: bytes(4096)}))
simple("data_shorter_than_tensors", 13, lambda file: file.extra.update({DATA: bytes(64)}))


@fault(13)
def tensor_padding_not_zero(file: File) -> None:
    def edit(sections: dict[int, bytearray]) -> None:
        sections[DATA][80] = 1

    file.section_edit = edit


simple("value_dtype_7", 14, set_in("values", 1, dtype=7), **UNSUPPORTED)
simple("row_kind_4", 14, set_in("values", 1, row_kind=4), **UNSUPPORTED)
simple("role_4", 14, set_in("values", 1, role=4), **UNSUPPORTED)
simple("rows_of_a_call", 15, set_in("values", 1, rows=1))
simple("fixed_without_rows", 15, set_in("values", 1, row_kind=FIXED))
simple("no_columns", 15, set_in("values", 1, columns=0))
simple("too_many_columns", 15, set_in("values", 1, columns=2**24 + 1))
simple("state_without_context", 15, set_in("values", 3, row_kind=CALL))
simple("context_without_state", 15, set_in("values", 1, row_kind=CONTEXT))
simple("value_reserved_field", 15, set_in("values", 1, reserved=b"\0" * 11 + b"\1"))
simple("slot_past_end", 16, set_in("values", 1, slot=16))
simple("slot_none", 16, set_in("values", 1, slot=NONE))
simple("fused_slot_past_end", 16, set_in("values", 1, fused_slot=16))
simple("output_left_out", 16, set_in("values", 15, fused_slot=NONE))
simple("state_left_out", 16, set_in("values", 3, fused_slot=NONE))
simple("state_shares_slot", 16, set_in("values", 1, slot=3))
simple("state_shares_fused_slot", 16, set_in("values", 1, fused_slot=3))

simple("op_code_0", 17, set_in("ops", 0, code=0), **UNSUPPORTED)
simple("op_code_31", 17, set_in("ops", 0, code=31), **UNSUPPORTED)
simple("op_reserved_field", 17, set_in("ops", 0, reserved=1))
simple("attribute_unused", 17, set_in("ops", 0, attributes=[0, 0, 0, 1]))
simple("operands_overlap", 18, set_in("ops", 1, first=2))
simple("operands_leave_a_hole", 18, set_in("ops", 1, first=4))
simple("operands_past_end", 18, set_in("ops", 13, counts=(2, 60000)))
simple("operand_unused", 18, lambda f: setattr(f, "operand_edit", lambda o: o.append([1, 0])))
simple("input_missing", 18, set_in("ops", 11, inputs=[v(12)]))
simple("input_too_many", 18, set_in("ops", 9, inputs=[v(10), v(10)]))
simple("output_missing", 18, set_in("ops", 6, outputs=[v(7)]))

simple("tensor_as_output", 19, set_in("ops", 12, outputs=[t(6)]))
simple("value_as_weight", 19, set_in("ops", 7, inputs=[v(7), v(7)]))
simple("weight_as_value", 19, set_in("ops", 9, inputs=[t(6)]))
simple("ternary_weight_plain", 19, set_in("ops", 7, inputs=[v(7), t(0)]))
simple("dense_weight_ternary", 19, set_in("ops", 13, inputs=[v(14), t(2)]))
simple("dense_weight_narrow", 19, set_in("ops", 13, inputs=[v(14), t(0)]))
simple("norm_weight_narrow", 19, set_in("ops", 5, inputs=[v(5), t(6)]))
simple("codes_not_s8", 19, set_in("values", 7, dtype=U8))
simple("scale_of_two_columns", 19, set_in("values", 8, columns=2))
simple("sum_not_s32", 19, set_in("values", 9, dtype=F32))
simple("rescale_by_a_wrong_vector", 19, set_in("ops", 8, inputs=[v(9), v(8), t(1)]))
simple("rope_heads_do_not_divide", 19, set_in("ops", 1, attributes=[3, 0, 0, 0]))
simple("rope_tables_shorter_than_context", 19, facts_of(context=9))
simple("cache_heads_do_not_divide", 19, set_in("ops", 2, attributes=[3, 0, 0, 0]))
simple("cache_of_s8", 19, set_in("values", 3, dtype=S8))
simple("rope_without_heads", 19, set_in("ops", 1, attributes=[0] * 4))
simple("cache_without_heads", 19, set_in("ops", 2, attributes=[0] * 4))
simple("attend_without_heads", 19, set_in("ops", 4, attributes=[0, 0, bits(0.5), 0]))
simple("attend_to_no_state", 19, set_in("ops", 4, inputs=[v(2), v(3), v(1)]))
simple("attend_more_kv_heads_than_heads", 19, set_in("ops", 4, attributes=[1, 2, 0, 0]))
simple("relu_changes_width", 19, set_in("values", 11, columns=4))
simple("mul_of_two_widths", 19, set_in("ops", 11, inputs=[v(12), v(5)]))
simple("kept_rows_become_call_rows", 19, set_in("values", 10, row_kind=KEPT))
simple("fixed_rows_become_others", 19, set_in("values", 0, rows=3), base=network)
simple("int8_table_without_scale", 19, set_in("ops", 0, inputs=[v(0), t(0)]), base=int8_model)
simple("f32_table_with_scale", 19, set_in("ops", 0, inputs=[v(0), t(0), t(1)]))


@fault(19, base=network)
def quantized_rows_too_long(file: File) -> None:
    file.values[0]["columns"] = 131057
    file.values[1].update(dtype=S8, columns=131057)
    file.values.append({**value("s", F32, 1, row_kind=FIXED, rows=2), "slot": 2, "fused_slot": 2})
    file.ops = [op(3, [v(0)], [v(1), v(2)])]


@fault(19, base=network)
def ternary_sum_too_long(file: File) -> None:
    file.values[0].update(dtype=S8, columns=131057)
    file.values[1]["dtype"] = S32
    file.tensors = [tensor("trits", U8, [3, 131057], bytes(16 * 131072 // 4), layout=1)]
    file.ops = [op(4, [v(0), t(0)], [v(1)])]


@fault(19, base=network)
def dense_sum_too_long(file: File) -> None:
    file.values[0].update(dtype=S8, columns=131057)
    file.values[1]["dtype"] = S32
    file.tensors = [tensor("codes", S8, [3, 131057], bytes(3 * 131057))]
    file.ops = [op(5, [v(0), t(0)], [v(1)])]


simple("fusion_unknown", 20, set_in("ops", 5, fusion=8))
simple("fusion_covers_one_too_few", 20, set_in("ops", 9, covers=2))
simple("fusion_none_covers_two", 20, set_in("ops", 5, fusion=0))
simple("fusion_of_other_ops", 20, set_in("ops", 5, fusion=2))
simple("fusion_past_the_end", 20, set_in("ops", 13, fusion=3, covers=2))
simple("fusion_overlaps", 20, set_in("ops", 10, fusion=4, covers=3))
simple("fusion_does_not_square", 20, set_in("ops", 10, inputs=[v(11), v(10)]))
simple("fusion_reads_what_it_does_not_store", 20, set_in("ops", 11, inputs=[v(12), v(11)]))
simple("network_eos_count_5", 8, facts_of(eos_count=5), base=network)
simple("fusion_does_not_feed", 20, set_in("ops", 11, inputs=[v(10), v(12)]))
simple("fusion_stores_a_value_between", 20, set_in("values", 6, fused_slot=6))
simple("value_outside_fusions_left_out", 20, set_in("values", 13, fused_slot=NONE))

FINE: dict[str, Any] = {"base": fine_model}
GROUPS: dict[str, Any] = {"base": group_model}

simple("b1r_of_rank_1", 10, set_in("tensors", 2, rank=1, dims=[6, 0, 0, 0]), **FINE)
simple("b1r_of_s8", 10, set_in("tensors", 2, dtype=S8), **FINE)
simple("q4r_of_s8", 10, set_in("tensors", 2, dtype=S8), **GROUPS)
simple("b1r_of_33_rows", 12, set_in("tensors", 2, dims=[33, 4, 0, 0]), **FINE)
simple("b1r_of_17_columns", 12, set_in("tensors", 2, dims=[6, 17, 0, 0]), **FINE)
simple("b1r_as_p2r", 12, set_in("tensors", 0, layout=1, dims=[17, 40, 0, 0]), **GROUPS)
simple("q4r_of_9_rows", 12, set_in("tensors", 2, dims=[9, 40, 0, 0]), **GROUPS)
simple("q4r_one_byte_long", 12, set_in("tensors", 2, bytes=193), **GROUPS)
simple("b1r_shape_overflows", 12, set_in("tensors", 2, dims=[2**32 - 1] * 2 + [0, 0]), **FINE)

simple("silu_with_attribute", 17, set_in("ops", 7, attributes=[1, 0, 0, 0]), **FINE)
simple("norm_with_third_attribute", 17, set_in("ops", 1, attributes=[0, 1, 1, 0]), **FINE)
simple("groups_with_two_attributes", 17, set_in("ops", 1, attributes=[16, 1, 0, 0]), **GROUPS)
simple("int16_without_low", 18, set_in("ops", 2, outputs=[v(3), v(5)]), **FINE)
simple("int4_with_low", 18, set_in("ops", 9, outputs=[v(18), v(12), v(19)]), **FINE)
simple("group_product_without_scale", 18, set_in("ops", 2, inputs=[v(2), t(2), t(3)]), **GROUPS)
simple("group_embed_without_scale", 18, set_in("ops", 0, inputs=[v(0), t(0)]), **GROUPS)
simple("rescale_of_five", 18, set_in("ops", 5, inputs=[v(6), v(5), t(3), v(7), v(7)]), **FINE)

simple("norm_without_heads", 19, set_in("ops", 1, attributes=[0] * 4), **FINE)
simple("norm_of_three_heads", 19, set_in("ops", 1, attributes=[0, 3, 0, 0]), **FINE)
simple("norm_weight_of_all_heads", 19, set_in("ops", 1, attributes=[0, 1, 0, 0]), **FINE)
simple("low_of_f32", 19, set_in("values", 4, dtype=F32), **FINE)
simple("low_narrow", 19, set_in("values", 4, columns=3), **FINE)
simple("int4_codes_of_s32", 19, set_in("values", 18, dtype=S32), **FINE)
simple("low_sum_of_f32", 19, set_in("ops", 5, inputs=[v(6), v(5), t(3), v(1)]), **FINE)
simple("low_sum_narrow", 19, set_in("ops", 5, inputs=[v(6), v(5), t(3), v(15)]), **FINE)
simple("low_sum_a_tensor", 19, set_in("ops", 5, inputs=[v(6), v(5), t(3), t(3)]), **FINE)
simple("dense_weight_binary", 19, set_in("ops", 6, inputs=[v(8), t(2)]), **FINE)
simple("silu_changes_width", 19, set_in("values", 9, columns=5), **FINE)
simple("ternary_weight_q4r", 19, set_in("ops", 2, code=4, inputs=[v(2), t(2)],
       attributes=[0] * 4), **GROUPS)  # fmt: skip
simple("group_weight_plain", 19, set_in("ops", 2, inputs=[v(2), t(3), t(3), v(3)]), **GROUPS)
simple("group_0", 19, set_in("ops", 2, attributes=[0] * 4), **GROUPS)
simple("group_8", 19, set_in("ops", 2, attributes=[8, 0, 0, 0]), **GROUPS)
simple("group_24", 19, set_in("ops", 1, attributes=[24, 0, 0, 0]), **GROUPS)
simple("group_4112", 19, set_in("ops", 0, attributes=[4112, 0, 0, 0]), **GROUPS)
simple("group_huge", 19, set_in("ops", 0, attributes=[2**32 - 16, 0, 0, 0]), **GROUPS)
simple("group_of_another_scale", 19, set_in("ops", 2, attributes=[32, 0, 0, 0]), **GROUPS)
simple("group_scale_bf16", 19, set_in("tensors", 1, dtype=BF16), **GROUPS)
simple("group_scale_turned", 19, set_in("tensors", 1, dims=[5, 3, 0, 0]), **GROUPS)
simple("group_scale_of_rank_1", 19, set_in("tensors", 3, rank=1, dims=[3, 0, 0, 0]), **GROUPS)
simple("group_scale_for_two_groups", 19, set_in("ops", 2, inputs=[v(2), t(2), t(5), v(3)]),
       **GROUPS)  # fmt: skip
simple("group_scale_for_two_rows", 19, set_in("ops", 4, inputs=[v(5), t(4), t(1), v(8), v(6)]),
       **GROUPS)  # fmt: skip
simple("activation_scale_of_two_groups", 19, set_in("values", 3, columns=2), **GROUPS)
simple("activation_scale_of_other_groups", 19,
       set_in("ops", 4, inputs=[v(5), t(4), t(5), v(3), v(6)]), **GROUPS)  # fmt: skip
simple("group_codes_narrow", 19, set_in("ops", 2, inputs=[v(5), t(2), t(3), v(3)]), **GROUPS)
simple("group_low_narrow", 19, set_in("ops", 2, inputs=[v(2), t(2), t(3), v(3), v(5)]), **GROUPS)
simple("group_sums_too_wide", 19, set_in("values", 4, columns=7), **GROUPS)
simple("group_table_plain", 19, set_in("ops", 0, inputs=[v(0), t(3), t(1)]), **GROUPS)
simple("group_table_of_f32_ids", 19, set_in("ops", 0, inputs=[v(1), t(0), t(1)]), **GROUPS)
simple("group_embedding_narrow", 19, set_in("values", 1, columns=39), **GROUPS)


@fault(19, base=network)
def group_rows_too_long(file: File) -> None:
    file.values[0]["columns"] = 131057
    file.values[1].update(dtype=S8, columns=131057)
    file.values.append({**value("s", F32, 32, row_kind=FIXED, rows=2), "slot": 2, "fused_slot": 2})
    file.ops = [op(16, [v(0)], [v(1), v(2)], [4096])]


simple("fusion_1_of_an_int16_quantizer", 20, set_in("ops", 1, fusion=1, covers=2), **FINE)
simple("fusion_6_of_dense_products", 20, set_in("ops", 11, fusion=6), **FINE)
simple("fusion_7_of_ternary_products", 20, set_in("ops", 3, fusion=7), **FINE)
simple("fusion_6_covers_two", 20, set_in("ops", 3, covers=2), **FINE)
simple("fusion_5_covers_three", 20, set_in("ops", 7, covers=3), **FINE)
simple("fusion_2_with_low_sum", 20, set_in("ops", 4, fusion=2, covers=2), **FINE)
simple("fusion_6_takes_products_the_other_way", 20,
       set_in("ops", 5, inputs=[v(7), v(5), t(3), v(6)]), **FINE)  # fmt: skip
simple("fusion_6_without_low_sum", 20, set_in("ops", 5, inputs=[v(6), v(5), t(3)]), **FINE)
simple("fusion_6_takes_one_product_twice", 20,
       set_in("ops", 5, inputs=[v(6), v(5), t(3), v(6)]), **FINE)  # fmt: skip
simple("fusion_6_stores_low_sum", 20, set_in("values", 7, fused_slot=7), **FINE)
simple("fusion_7_stores_sum", 20, set_in("values", 15, fused_slot=15), **FINE)
simple("silu_stored", 20, set_in("values", 9, fused_slot=9), **FINE)
simple("silu_second", 20, set_in("ops", 8, inputs=[v(10), v(9)]), **FINE)
simple("silu_squared", 20, set_in("ops", 8, inputs=[v(9), v(9)]), **FINE)


@fault(20)
def fused_norm_of_two_heads(file: File) -> None:
    file.tensors[1] = tensor("norm", F32, [2], bytes(8))
    file.ops[5]["attributes"] = [bits(1e-5), 2, 0, 0]


@fault(20, base=fine_model)
def fusion_6_of_two_weights(file: File) -> None:
    file.tensors.append(tensor("other", U8, [6, 4], bytes(64), layout=2))
    file.ops[4]["inputs"] = [v(4), t(6)]


@fault(20, base=fine_model)
def fusion_2_with_a_low_sum(file: File) -> None:
    """Fuse the second product and Rescale, the first an op of its own."""
    file.ops[3].update(fusion=0, covers=0)
    file.ops[4].update(fusion=2, covers=2)
    file.ops[5]["inputs"] = [v(7), v(5), t(3), v(6)]
    file.values[6]["fused_slot"] = 6


@fault(20, base=fine_model)
def silu_times_a_tensor(file: File) -> None:
    file.tensors.append(tensor("gain", F32, [6], bytes(24)))
    file.ops[8]["inputs"] = [v(9), t(6)]


@fault(20, base=fine_model)
def low_sum_used_outside(file: File) -> None:
    file.ops[13]["inputs"] = [v(15), v(14), t(3), v(16)]
    file.values.append({**value("again", F32, 6), "slot": 20, "fused_slot": 20})
    file.ops.insert(6, op(6, [v(7), v(5), t(3)], [v(20)]))


@fault(20)
def value_between_used_outside(file: File) -> None:
    file.values[12]["fused_slot"] = 12
    file.ops[12]["inputs"] = [v(13), v(12)]


simple("operand_kind_0", 21, set_in("ops", 0, inputs=[(0, 0), t(0)]))
simple("operand_kind_3", 21, set_in("ops", 0, inputs=[v(0), (3, 0)]))
simple("operand_value_past_end", 21, set_in("ops", 0, inputs=[v(16), t(0)]))
simple("operand_tensor_past_end", 21, set_in("ops", 0, inputs=[v(0), t(8)]))


@fault(22, base=network)
def network_writes_its_input(file: File) -> None:
    file.ops.append(op(10, [v(1)], [v(0)]))


@fault(22)
def value_written_twice(file: File) -> None:
    file.ops.insert(1, op(1, [v(0), t(0)], [v(1)]))


@fault(22)
def value_read_before_it_is_written(file: File) -> None:
    file.ops[0], file.ops[1] = file.ops[1], file.ops[0]


@fault(22)
def value_written_by_no_op(file: File) -> None:
    file.values.append({**value("lost", F32, 4), "slot": 16, "fused_slot": 16})


@fault(22)
def state_written_twice(file: File) -> None:
    file.ops.insert(3, op(8, [v(3), v(2)], [v(3)], [1]))


@fault(22)
def state_read_before_it_is_written(file: File) -> None:
    file.ops[3], file.ops[4] = file.ops[4], file.ops[3]


simple("state_not_in_place", 22, set_in("ops", 2, outputs=[v(4)]))
simple("values_of_one_slot_live_together", 23, set_in("values", 2, slot=1))
simple("fused_values_of_one_slot_live_together", 23, set_in("values", 2, fused_slot=1))
simple("input_and_output_of_an_op_share", 23, set_in("values", 7, slot=6))
simple("output_overwritten_after_it_is_made", 23, set_in("values", 15, slot=14))


@fault(23)
def values_of_one_fusion_share(file: File) -> None:
    file.values[7]["fused_slot"] = 5


@fault(23, base=network)
def input_lives_from_the_start(file: File) -> None:
    file.values.append({**value("z", F32, 3, row_kind=FIXED, rows=2), "slot": 0, "fused_slot": 2})
    file.ops[0]["outputs"] = [v(2)]
    file.ops.append(op(11, [v(2), v(0)], [v(1)]))


@pytest.mark.parametrize(("rule", "status", "base", "breaks"), FAULTS)
def test_a_broken_rule_is_named(rule, status, base, breaks):
    file = base()
    breaks(file)
    blob = pack(file)
    with pytest.raises(BitxError) as error:
        read_bitx(blob)
    assert (error.value.rule, error.value.bitx_status) == (rule, status), error.value


def test_every_rule_of_opening_is_broken_at_least_once():
    assert {param.values[0] for param in FAULTS} == set(range(1, 24))


# ---- R24, R25 --------------------------------------------------------------------------------


@pytest.mark.parametrize("section", range(7))
def test_a_changed_byte_of_a_section_is_seen(section):
    file = language_model()
    file.table_edit = lambda table: table[section].__setitem__(5, bytes(32))
    bitx = read_bitx(pack(file))
    with pytest.raises(BitxError) as error:
        check_hashes(bitx)
    assert (error.value.rule, error.value.bitx_status) == (24, "BITX_E_HASH")


def test_changed_weights_open_but_do_not_pass_the_hashes():
    blob = bytearray(pack(language_model()))
    blob[-1] ^= 1
    with pytest.raises(BitxError, match="R24"):
        check_hashes(read_bitx(bytes(blob)))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(15), id="head_too_short"),
        pytest.param(self_test_bytes()[:-1], id="one_byte_short"),
        pytest.param(self_test_bytes() + b"\0", id="one_byte_long"),
        pytest.param(self_test_bytes(prompt=()), id="no_prompt"),
        pytest.param(self_test_bytes(generated=()), id="nothing_generated"),
        pytest.param(self_test_bytes(outputs=14), id="fewer_outputs_than_the_plan"),
        pytest.param(self_test_bytes(reserved=1), id="reserved_field"),
        pytest.param(self_test_bytes(prompt=(1, 5)), id="prompt_outside_vocabulary"),
        pytest.param(self_test_bytes(generated=(NONE,)), id="generated_outside_vocabulary"),
        pytest.param(self_test_bytes(prompt=(1,) * 9), id="beyond_the_context"),
        pytest.param(struct.pack("<4I", 2**32 - 1, 2**32 - 1, 2**32 - 1, 0), id="counts_overflow"),
    ],
)
def test_a_broken_self_test_is_refused_when_asked_for(body):
    file = language_model()
    file.extra[SELF_TEST] = body
    bitx = read_bitx(pack(file))
    with pytest.raises(BitxError) as error:
        self_test(bitx)
    assert error.value.rule == 25


def test_a_self_test_may_fill_the_context():
    file = language_model()
    file.extra[SELF_TEST] = self_test_bytes(prompt=(1,) * 8)
    assert self_test(read_bitx(pack(file))) is not None


# ---- any byte --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [language_model, group_model, fine_model])
def test_no_single_changed_byte_breaks_the_reader_itself(model):
    """With the header's hash made good again, a file is read or refused, never a crash."""
    sound = pack(model())
    table_end = 64 + 64 * 7
    end = read_bitx(sound).sections[-1].offset
    for at in range(0, end, 3):
        for flip in (0x01, 0x80, 0xFF):
            blob = bytearray(sound)
            blob[at] ^= flip
            blob[32:64] = hashlib.sha256(blob[:32] + blob[64:table_end]).digest()
            try:
                read_bitx(bytes(blob))
            except BitxError as error:
                assert 1 <= error.rule <= 23  # noqa: PT017 - both outcomes are right
