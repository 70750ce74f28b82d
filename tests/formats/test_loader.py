"""The C loader names the rule that a file breaks, and no bytes whatever make it stumble."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import struct
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from tests.formats import tiny_bitx as tiny
from tests.formats.tiny_bitx import (
    BF16,
    CALL,
    CONTEXT,
    DATA,
    F16,
    F32,
    FIXED,
    HEADER_BYTES,
    INPUT,
    INTERNAL,
    KEPT,
    NONE,
    P2B,
    P16,
    ROW_BYTES,
    S8,
    S32,
    STATE,
    STRINGS,
    T5X3,
    TENSOR,
    TENSORS,
    VALUE,
    Bitx,
    Row,
    Value,
    assemble,
    edited,
    sealed,
)
from tests.networks import write_pictures, write_rows
from tests.text import tiny_tables

from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.paths import runtime_root
from bitexport.targets import find_target
from bitexport.toolchain.compile import library_flags, sources
from bitexport_ref.bitx import BitxError, read_bitx

OK, ARGUMENT = 0, -1
MAGIC, VERSION, TRUNCATED, FORMAT, HASH, UNSUPPORTED, SELF_TEST = -2, -3, -4, -5, -6, -7, -15
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

Sections = list[Row]


# ---- The faults: what is broken, and what the loader must say ---------------------------------


@dataclasses.dataclass(frozen=True)
class Fault:
    """One way to break a file that is sound otherwise."""

    name: str
    rule: int
    status: int
    write: Callable[[], bytes]


FAULTS: list[Fault] = []


def in_model(rule: int, status: int = FORMAT) -> Callable[[Callable[[Bitx], None]], None]:
    """Break the model, then write the file with everything else in order."""

    def register(change: Callable[[Bitx], None]) -> None:
        def write() -> bytes:
            model = tiny.tiny()
            change(model)
            return model.write()

        FAULTS.append(Fault(change.__name__, rule, status, write))

    return register


def in_sections(rule: int, status: int = FORMAT) -> Callable[[Callable[[Sections], None]], None]:
    """Break the list of sections, then write the file."""

    def register(change: Callable[[Sections], None]) -> None:
        def write() -> bytes:
            rows = tiny.tiny().sections()
            change(rows)
            return assemble(rows)

        FAULTS.append(Fault(change.__name__, rule, status, write))

    return register


def in_file(rule: int, status: int = FORMAT) -> Callable[[Callable[[bytes], bytes]], None]:
    """Break the bytes of the file."""

    def register(change: Callable[[bytes], bytes]) -> None:
        FAULTS.append(Fault(change.__name__, rule, status, lambda: change(tiny.tiny().write())))

    return register


def table_row(file: bytes, section: int) -> int:
    """Return where a section's record lies in the table."""
    (count,) = struct.unpack_from("<I", file, 24)
    rows = range(HEADER_BYTES, HEADER_BYTES + ROW_BYTES * count, ROW_BYTES)
    return next(at for at in rows if struct.unpack_from("<I", file, at) == (section,))


def payload(file: bytes, section: int) -> tuple[int, int]:
    """Return offset and bytes of a section."""
    at, size = struct.unpack_from("<2Q", file, table_row(file, section) + 8)
    return at, size


# Rule 1.


@in_file(1, MAGIC)
def file_is_empty(_: bytes) -> bytes:
    return b""


@in_file(1, MAGIC)
def file_is_shorter_than_a_header(file: bytes) -> bytes:
    return file[:63]


@in_file(1, MAGIC)
def magic_is_another(file: bytes) -> bytes:
    return sealed(b"BITY" + file[4:])


@in_file(1, MAGIC)
def magic_lost_its_carriage_return(file: bytes) -> bytes:
    return sealed(b"BITX\n\n\x1a\n" + file[8:])


@in_file(1, MAGIC)
def header_says_another_length_of_itself(file: bytes) -> bytes:
    return edited(file, 28, "<I", lambda size: size + 64)


# Rule 2.


@in_file(2, VERSION)
def format_version_is_2(file: bytes) -> bytes:
    return edited(file, 8, "<I", lambda _: 2)


@in_file(2, VERSION)
def format_version_is_0(file: bytes) -> bytes:
    return edited(file, 8, "<I", lambda _: 0)


@in_file(2, VERSION)
def runtime_is_too_old(file: bytes) -> bytes:
    return edited(file, 12, "<I", lambda version: version + 1)


# Rule 3.


@in_file(3, TRUNCATED)
def last_byte_is_missing(file: bytes) -> bytes:
    return file[:-1]


@in_file(3, TRUNCATED)
def one_byte_too_many(file: bytes) -> bytes:
    return file + b"\0"


@in_file(3, TRUNCATED)
def length_beyond_any_memory(file: bytes) -> bytes:
    return edited(file, 16, "<Q", lambda _: 2**64 - 1)


# Rule 4.


@in_file(4, HASH)
def header_hash_is_another(file: bytes) -> bytes:
    return file[:32] + bytes([file[32] ^ 1]) + file[33:]


@in_file(4, HASH)
def table_differs_from_its_hash(file: bytes) -> bytes:
    at = table_row(file, DATA) + 63
    return file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :]


# Rule 5.


@in_file(5)
def there_are_no_sections(file: bytes) -> bytes:
    return edited(file, 24, "<I", lambda _: 0)


@in_file(5)
def there_are_33_sections(file: bytes) -> bytes:
    return edited(file, 24, "<I", lambda _: 33)


@in_file(5)
def section_count_overflows(file: bytes) -> bytes:
    return edited(file, 24, "<I", lambda _: 0xFFFFFFFF)


@in_sections(5)
def section_ids_do_not_increase(rows: Sections) -> None:
    rows[-2], rows[-1] = rows[-1], rows[-2]


@in_sections(5)
def section_comes_twice(rows: Sections) -> None:
    rows.append(rows[-1])


@in_sections(5)
def operands_section_is_missing(rows: Sections) -> None:
    del rows[5]


@in_sections(5)
def facts_section_is_missing(rows: Sections) -> None:
    del rows[0]


@in_sections(5, UNSUPPORTED)
def section_of_a_later_version(rows: Sections) -> None:
    rows.append(Row(15, b"new", 3))


@in_sections(5, UNSUPPORTED)
def section_id_that_is_only_reserved(rows: Sections) -> None:
    rows.insert(2, Row(3, b"tokens", 6))


@in_file(5)
def table_goes_past_end(file: bytes) -> bytes:
    return sealed(file[:16] + struct.pack("<Q", 600) + file[24:600])


# Rule 6.


@in_sections(6)
def hole_between_two_sections(rows: Sections) -> None:
    rows[-2].pad = 64


@in_file(6)
def section_offset_past_end(file: bytes) -> bytes:
    return edited(file, table_row(file, DATA) + 8, "<Q", lambda at: at + (1 << 40))


@in_file(6)
def section_offset_wraps_around(file: bytes) -> bytes:
    return edited(file, table_row(file, DATA) + 8, "<Q", lambda at: at + (1 << 63))


@in_file(6)
def two_sections_overlap(file: bytes) -> bytes:
    return edited(file, table_row(file, TENSORS) + 8, "<Q", lambda at: at - 64)


@in_file(6)
def section_is_longer_than_the_file(file: bytes) -> bytes:
    last = table_row(file, tiny.PROVENANCE)
    longer = edited(file, last + 16, "<Q", lambda size: size + 64)
    return edited(longer, last + 24, "<Q", lambda records: records + 64)


@in_file(6)
def section_bytes_wrap_around(file: bytes) -> bytes:
    last = table_row(file, tiny.PROVENANCE)
    longer = edited(file, last + 16, "<Q", lambda size: 2**64 - 64)
    return edited(longer, last + 24, "<Q", lambda records: 2**64 - 64)


@in_file(6)
def file_goes_on_after_the_last_section(file: bytes) -> bytes:
    return edited(file + bytes(64), 16, "<Q", lambda size: size + 64)


@in_file(6)
def padding_between_sections_is_not_zero(file: bytes) -> bytes:
    at = sum(payload(file, STRINGS))
    return file[:at] + b"\1" + file[at + 1 :]


# Rule 7.


@in_file(7)
def section_has_one_record_more_than_bytes(file: bytes) -> bytes:
    return edited(file, table_row(file, tiny.OPS) + 24, "<Q", lambda records: records + 1)


@in_file(7)
def record_count_wraps_around(file: bytes) -> bytes:
    return edited(file, table_row(file, TENSORS) + 24, "<Q", lambda records: records + (1 << 58))


@in_sections(7)
def there_are_two_facts(rows: Sections) -> None:
    rows[0] = Row(tiny.FACTS, rows[0].payload * 2, 2)


@in_sections(7)
def there_are_two_generation_defaults(rows: Sections) -> None:
    rows.insert(7, Row(11, bytes(128), 2))


@in_sections(7)
def generation_defaults_are_too_short(rows: Sections) -> None:
    rows.insert(7, Row(11, bytes(63), 1))


@in_file(7)
def bytes_section_counts_other_records(file: bytes) -> bytes:
    return edited(file, table_row(file, DATA) + 24, "<Q", lambda records: records - 1)


# Rule 8.


@in_model(8)
def kind_is_2(model: Bitx) -> None:
    model.facts.kind = 2


@in_model(8)
def vocabulary_differs_from_the_logits(model: Bitx) -> None:
    model.facts.vocabulary += 1


@in_model(8)
def context_is_0(model: Bitx) -> None:
    model.facts.context = 0


@in_model(8)
def token_value_is_past_end(model: Bitx) -> None:
    model.facts.tokens = len(model.values)


@in_model(8)
def token_value_is_no_input(model: Bitx) -> None:
    model.facts.tokens = model.value_index("key.sum")


@in_model(8)
def logits_value_is_past_end(model: Bitx) -> None:
    model.facts.logits = len(model.values)


@in_model(8)
def logits_value_is_internal(model: Bitx) -> None:
    model.facts.logits = model.value_index("logits.sum")


@in_model(8)
def language_model_has_no_logits(model: Bitx) -> None:
    model.facts.logits = NONE


@in_model(8)
def network_has_a_token_value(model: Bitx) -> None:
    model.facts.kind = 0


@in_model(8)
def end_token_is_outside_the_vocabulary(model: Bitx) -> None:
    model.facts.eos[0] = model.facts.vocabulary


@in_model(8)
def begin_token_is_outside_the_vocabulary(model: Bitx) -> None:
    model.facts.bos = model.facts.vocabulary


@in_model(8)
def there_are_five_end_tokens(model: Bitx) -> None:
    model.facts.eos_count = 5


@in_model(8)
def token_value_has_kept_rows(model: Bitx) -> None:
    model.value("tokens").row_kind = KEPT


@in_model(8)
def end_token_that_is_not_counted_is_given(model: Bitx) -> None:
    model.facts.eos[1] = 3


# Rule 9.


@in_model(9)
def string_offset_past_end(model: Bitx) -> None:
    model.facts.name = (len(model.strings), 0)


@in_model(9)
def string_takes_its_zero_byte_from_the_padding(model: Bitx) -> None:
    text = model.text(model.facts.name)
    model.facts.name = model.string(text)
    del model.strings[-1]


@in_model(9)
def string_end_wraps_around(model: Bitx) -> None:
    model.facts.name = (8, 0xFFFFFFFC)


@in_model(9)
def string_has_no_zero_byte(model: Bitx) -> None:
    offset, size = model.values[3].name
    model.values[3].name = (offset, size - 1)


@in_model(9)
def string_holds_a_zero_byte(model: Bitx) -> None:
    model.tensors[0].name = model.string("a\0b")


# Rule 10.


@in_model(10, UNSUPPORTED)
def tensor_dtype_is_unknown(model: Bitx) -> None:
    model.tensors[1].dtype = 7


@in_model(10, UNSUPPORTED)
def tensor_layout_is_unknown(model: Bitx) -> None:
    model.tensor("query.weight").layout = 99


@in_model(10)
def p2r_tensor_is_not_of_bytes(model: Bitx) -> None:
    model.tensor("query.weight").dtype = S8


@in_model(10)
def p2r_tensor_has_rank_1(model: Bitx) -> None:
    tensor = model.tensor("query.weight")
    tensor.rank, tensor.shape = 1, [256, 0, 0, 0]


@in_model(10)
def b1r_tensor_is_not_of_bytes(model: Bitx) -> None:
    model.tensor("binary.weight").dtype = S8


@in_model(10)
def q4r_tensor_has_rank_1(model: Bitx) -> None:
    tensor = model.tensor("groups.table")
    tensor.rank, tensor.shape = 1, [384, 0, 0, 0]


# Rule 11.


@in_model(11)
def tensor_rank_is_0(model: Bitx) -> None:
    model.tensors[0].rank = 0


@in_model(11)
def tensor_rank_is_3(model: Bitx) -> None:
    model.tensors[0].rank = 3


@in_model(11)
def tensor_dimension_is_0(model: Bitx) -> None:
    model.tensors[0].shape[1] = 0


@in_model(11)
def unused_tensor_dimension_is_not_0(model: Bitx) -> None:
    model.tensors[0].shape[2] = 1


# Rule 12.


@in_model(12)
def tensor_is_one_byte_short(model: Bitx) -> None:
    model.tensors[-1].bytes -= 1


@in_model(12)
def tensor_shape_wraps_around(model: Bitx) -> None:
    model.tensors[0].shape[:2] = [1 << 31, 1 << 31]


@in_model(12)
def p2r_shape_wraps_around(model: Bitx) -> None:
    model.tensor("query.weight").shape[:2] = [0xFFFFFFFF, 0xFFFFFFFF]


@in_model(12)
def p2r_rows_are_not_padded(model: Bitx) -> None:
    model.tensor("key.weight").bytes //= 2


@in_model(12)
def p2b_tensor_has_the_bytes_of_p2r(model: Bitx) -> None:
    model.tensor("query.weight").layout = P2B


@in_model(12)
def p2b_shape_wraps_around(model: Bitx) -> None:
    tensor = model.tensor("query.weight")
    tensor.layout, tensor.shape[:2], tensor.bytes = P2B, [0xFFFFFFFF, 0xFFFFFFFF], 0


@in_model(12)
def t5x3_tensor_has_the_bytes_of_p2r(model: Bitx) -> None:
    model.tensor("query.weight").layout = T5X3


@in_model(12)
def t5x3_shape_wraps_around(model: Bitx) -> None:
    tensor = model.tensor("query.weight")
    tensor.layout, tensor.shape[:2], tensor.bytes = T5X3, [0xFFFFFFFF, 0xFFFFFFFF], 0


@in_model(12)
def p16_rows_are_not_padded(model: Bitx) -> None:
    tensor = model.tensor("query.weight")
    tensor.layout, tensor.bytes = P16, tensor.bytes // 2


@in_model(12)
def p16_shape_wraps_around(model: Bitx) -> None:
    tensor = model.tensor("query.weight")
    tensor.layout, tensor.shape[:2], tensor.bytes = P16, [0xFFFFFFFF, 0xFFFFFFFF], 0


@in_model(12)
def b1r_shape_wraps_around(model: Bitx) -> None:
    model.tensor("up2.weight").shape[:2] = [0xFFFFFFFF, 0xFFFFFFFF]


@in_model(12)
def q4r_shape_wraps_around(model: Bitx) -> None:
    tensor = model.tensor("groups.table")
    tensor.shape[:2], tensor.bytes = [0xFFFFFFFF, 0xFFFFFFFF], 0


@in_model(12)
def b1r_rows_are_not_padded(model: Bitx) -> None:
    model.tensor("binary.weight").bytes //= 2


@in_model(12)
def b1r_tensor_has_the_bytes_of_p2r(model: Bitx) -> None:
    model.tensor("up2.weight").bytes *= 2


@in_model(12)
def q4r_tensor_has_the_bytes_of_p2r(model: Bitx) -> None:
    model.tensor("groups.table").bytes //= 2


@in_model(12)
def q4r_tensor_has_a_row_more(model: Bitx) -> None:
    model.tensor("groups.table").shape[0] += 1


# Rule 13.


@in_model(13)
def first_tensor_starts_late(model: Bitx) -> None:
    model.tensors[0].at += 64


@in_model(13)
def tensor_offset_past_end(model: Bitx) -> None:
    model.tensors[-1].at += 1 << 40


@in_model(13)
def tensor_offset_wraps_around(model: Bitx) -> None:
    model.tensors[-1].at -= 1 << 62


@in_model(13)
def two_tensors_overlap(model: Bitx) -> None:
    model.tensors[2].at = model.tensors[1].at


@in_model(13)
def tensor_offset_is_odd(model: Bitx) -> None:
    model.tensors[2].at += 1


@in_model(13)
def data_goes_on_after_the_last_tensor(model: Bitx) -> None:
    model.data += bytes(64)


@in_model(13)
def data_ends_before_the_last_tensor(model: Bitx) -> None:
    del model.data[-1]


@in_model(13)
def padding_between_tensors_is_not_zero(model: Bitx) -> None:
    tensor = model.tensor("key.factor")
    model.data[tensor.at + tensor.bytes] = 1


# Rule 14.


@in_model(14, UNSUPPORTED)
def value_dtype_is_unknown(model: Bitx) -> None:
    model.value("key.sum").dtype = 0


@in_model(14, UNSUPPORTED)
def value_row_kind_is_unknown(model: Bitx) -> None:
    model.value("key.sum").row_kind = 4


@in_model(14, UNSUPPORTED)
def value_role_is_unknown(model: Bitx) -> None:
    model.value("key.sum").role = 4


# Rule 15.


@in_model(15)
def rows_are_given_though_they_vary(model: Bitx) -> None:
    model.value("key.sum").rows = 1


@in_model(15)
def fixed_rows_are_not_given(model: Bitx) -> None:
    model.value("key.sum").row_kind = FIXED


@in_model(15)
def value_has_no_columns(model: Bitx) -> None:
    model.value("key.sum").columns = 0


@in_model(15)
def value_is_too_wide(model: Bitx) -> None:
    model.value("key.sum").columns = (1 << 24) + 1


@in_model(15)
def state_has_rows_of_the_call(model: Bitx) -> None:
    model.value("keys").row_kind = CALL


@in_model(15)
def value_that_is_no_state_has_rows_of_the_context(model: Bitx) -> None:
    model.value("x0").row_kind = CONTEXT


# Rule 16.


@in_model(16)
def slot_is_past_end(model: Bitx) -> None:
    model.value("x0").slot = len(model.values)


@in_model(16)
def fused_slot_is_past_end(model: Bitx) -> None:
    model.value("x0").fused_slot = len(model.values)


@in_model(16)
def slot_is_none(model: Bitx) -> None:
    model.value("key.sum").slot = NONE


@in_model(16)
def state_has_no_fused_slot(model: Bitx) -> None:
    model.value("keys").fused_slot = NONE


@in_model(16)
def two_states_share_a_slot(model: Bitx) -> None:
    model.value("keys").slot = model.value("values").slot


@in_model(16)
def value_shares_the_slot_of_a_state(model: Bitx) -> None:
    model.value("key.sum").slot = model.value("values").slot


@in_model(16)
def value_shares_the_fused_slot_of_a_state(model: Bitx) -> None:
    model.value("logits").fused_slot = model.value("values").fused_slot


# Rule 17.


@in_model(17, UNSUPPORTED)
def op_code_is_0(model: Bitx) -> None:
    model.ops[5].code = 0


@in_model(17, UNSUPPORTED)
def op_code_is_31(model: Bitx) -> None:
    model.ops[5].code = 31


@in_model(17)
def unused_attribute_is_not_0(model: Bitx) -> None:
    model.op("Add").attributes[0] = 1


@in_model(17)
def attribute_behind_those_of_the_op_is_not_0(model: Bitx) -> None:
    model.op("Rope").attributes[1] = 1


@in_model(17)
def attribute_behind_a_group_is_not_0(model: Bitx) -> None:
    model.op("GroupMatMul").attributes[1] = 16


@in_model(17)
def op_without_attributes_has_one(model: Bitx) -> None:
    model.op("Silu").attributes[0] = 1


@in_model(17)
def norm_has_a_third_attribute(model: Bitx) -> None:
    model.op("RmsNorm").attributes[2] = 1


# Rule 18.


@in_model(18)
def op_has_an_input_too_few(model: Bitx) -> None:
    add = model.op("Add", 1)
    add.inputs, add.outputs = 1, 2


@in_model(18)
def first_operand_is_not_behind_those_of_the_op_before(model: Bitx) -> None:
    model.op("Add").first -= 1


@in_model(18)
def first_operand_past_end(model: Bitx) -> None:
    model.ops[-1].first = 0xFFFFFFFE


@in_model(18)
def operands_end_before_the_last_op(model: Bitx) -> None:
    del model.operands[-1]


@in_model(18)
def operand_belongs_to_no_op(model: Bitx) -> None:
    model.operands.append((VALUE, 0))


@in_model(18)
def group_matmul_has_an_input_too_many(model: Bitx) -> None:
    grouped = model.op("GroupMatMul", 2)
    grouped.inputs, grouped.outputs = 6, 0


@in_model(18)
def group_matmul_has_an_input_too_few(model: Bitx) -> None:
    grouped = model.op("GroupMatMul")
    grouped.inputs, grouped.outputs = 3, 2


@in_model(18)
def int16_codes_have_no_scale(model: Bitx) -> None:
    quantize = model.op("QuantizeRowsInt16")
    quantize.inputs, quantize.outputs = 2, 2


# Rule 19.


@in_model(19)
def matmul_reads_floats(model: Bitx) -> None:
    model.set_operand(model.op("TernaryMatMul"), 0, VALUE, "x0")


@in_model(19)
def ternary_matmul_has_plain_weights(model: Bitx) -> None:
    model.set_operand(model.op("TernaryMatMul"), 1, TENSOR, "embedding")


@in_model(19)
def matmul_weight_is_too_narrow(model: Bitx) -> None:
    gate, down = model.op("TernaryMatMul", 4), model.op("TernaryMatMul", 6)
    gate_weight, down_weight = model.operand(gate, 1), model.operand(down, 1)
    model.operands[gate.first + 1], model.operands[down.first + 1] = down_weight, gate_weight


@in_model(19)
def norm_weight_is_too_short(model: Bitx) -> None:
    model.set_operand(model.op("RmsNorm", 3), 1, TENSOR, "mlp.norm")


@in_model(19)
def norm_weight_is_a_value(model: Bitx) -> None:
    model.set_operand(model.op("RmsNorm"), 1, VALUE, "x0")


@in_model(19)
def embedding_table_is_smaller_than_the_vocabulary(model: Bitx) -> None:
    tensor = model.tensor("embedding")
    tensor.shape[0] -= 4
    tensor.bytes -= 4 * tensor.shape[1]
    head = model.tensor("embedding.scale")
    assert head.at == tensor.at + tensor.bytes + 64
    head.at -= 64
    del model.data[head.at : head.at + 64]
    for later in model.tensors[2:]:
        later.at -= 64


@in_model(19)
def heads_do_not_divide_the_columns(model: Bitx) -> None:
    model.op("Rope").attributes[0] = 3


@in_model(19)
def heads_are_0(model: Bitx) -> None:
    model.op("Attend").attributes[0] = 0


@in_model(19)
def kv_heads_are_0(model: Bitx) -> None:
    model.op("Attend").attributes[1] = 0


@in_model(19)
def rope_table_is_shorter_than_the_context(model: Bitx) -> None:
    model.facts.context += 1


@in_model(19)
def cache_is_too_narrow(model: Bitx) -> None:
    model.value("keys").columns //= 2


@in_model(19)
def cache_dtype_is_none_that_a_cache_may_have(model: Bitx) -> None:
    model.value("keys").dtype = S32


@in_model(19)
def added_values_differ_in_columns(model: Bitx) -> None:
    model.set_operand(model.op("Mul", 1), 1, VALUE, "x1")


@in_model(19)
def output_has_more_rows_than_its_input(model: Bitx) -> None:
    model.value("down").row_kind = CALL


@in_model(19)
def rescale_reads_the_scale_of_too_many_columns(model: Bitx) -> None:
    model.set_operand(model.op("Rescale"), 1, VALUE, "x0")


@in_model(19)
def cache_stores_kept_rows(model: Bitx) -> None:
    model.value("key.rope").row_kind = KEPT


@in_model(19)
def output_has_fixed_rows_and_its_input_has_not(model: Bitx) -> None:
    model.value("key.sum").row_kind, model.value("key.sum").rows = FIXED, 3


def group_faults() -> dict[str, int]:
    """Return groups that are none."""
    return {"0": 0, "1": 1, "24": 24, "larger_than_4096": 4112, "huge": 0xFFFFFFF0}


def register_group_faults() -> None:
    """Break the group of every op that has one."""
    for op in ("GroupEmbed", "GroupMatMul", "QuantizeGroups"):
        for name, group in group_faults().items():

            def write(op: str = op, group: int = group) -> bytes:
                model = tiny.tiny()
                model.op(op).attributes[0] = group
                return model.write()

            FAULTS.append(Fault(f"group_of_{op}_is_{name}", 19, FORMAT, write))


register_group_faults()


@in_model(19)
def group_asks_for_other_scales_of_the_weight(model: Bitx) -> None:
    model.op("GroupMatMul", 2).attributes[0] = 32


@in_model(19)
def scales_of_groups_are_those_of_other_rows(model: Bitx) -> None:
    model.set_operand(model.op("GroupMatMul", 2), 2, TENSOR, "gate2.scale")


@in_model(19)
def scales_of_groups_have_rank_1(model: Bitx) -> None:
    model.set_operand(model.op("GroupMatMul"), 2, TENSOR, "embedding.scale")


@in_model(19)
def scales_of_groups_are_bf16(model: Bitx) -> None:
    model.tensor("down2.scale").dtype = BF16


@in_model(19)
def scales_of_groups_are_packed(model: Bitx) -> None:
    model.set_operand(model.op("GroupMatMul", 1), 2, TENSOR, "gate2.weight")


@in_model(19)
def scales_of_groups_are_a_value(model: Bitx) -> None:
    model.set_operand(model.op("GroupMatMul", 1), 2, VALUE, "grouped.scale")


@in_model(19)
def group_matmul_has_plain_weights(model: Bitx) -> None:
    model.set_operand(model.op("GroupMatMul"), 1, TENSOR, "dense.weight")


@in_model(19)
def group_matmul_reads_floats(model: Bitx) -> None:
    model.set_operand(model.op("GroupMatMul"), 0, VALUE, "dense")


@in_model(19)
def group_matmul_weight_is_too_narrow(model: Bitx) -> None:
    model.set_operand(model.op("GroupMatMul", 2), 1, TENSOR, "fine.weight")


@in_model(19)
def group_matmul_weight_is_looked_up(model: Bitx) -> None:
    looked_up(model, "down2.weight")
    model.set_operand(model.op("GroupMatMul", 2), 1, TENSOR, "another")


@in_model(19)
def low_codes_have_other_columns(model: Bitx) -> None:
    model.set_operand(model.op("GroupMatMul", 2), 4, VALUE, "fine.low")


@in_model(19)
def low_codes_are_floats(model: Bitx) -> None:
    model.set_operand(model.op("GroupMatMul", 2), 4, VALUE, "gated2")


@in_model(19)
def scale_of_the_codes_is_none(model: Bitx) -> None:
    model.set_operand(model.op("GroupMatMul", 2), 3, VALUE, "silu")


@in_model(19)
def quantized_groups_have_a_scale_too_many(model: Bitx) -> None:
    model.value("grouped.scale").columns = 2


@in_model(19)
def int4_codes_have_two_scales(model: Bitx) -> None:
    model.value("four.scale").columns = 2


@in_model(19)
def int4_codes_are_of_other_columns(model: Bitx) -> None:
    model.value("four.q").columns *= 2


@in_model(19)
def low_codes_are_of_other_columns_than_the_high(model: Bitx) -> None:
    model.value("inner2.low").columns = 16


@in_model(19)
def low_codes_are_of_32_bits(model: Bitx) -> None:
    model.value("inner2.low").dtype = S32


@in_model(19)
def low_codes_have_other_rows_than_the_high(model: Bitx) -> None:
    model.value("inner2.low").row_kind = CALL


@in_model(19)
def scale_of_int16_codes_is_an_integer(model: Bitx) -> None:
    model.value("inner2.scale").dtype = S32


@in_model(19)
def rescale_adds_low_sums_that_are_floats(model: Bitx) -> None:
    rescale = model.op("Rescale", 8)
    assert rescale.inputs == 4
    model.set_operand(rescale, 3, VALUE, "headed")


@in_model(19)
def rescale_adds_low_sums_of_other_columns(model: Bitx) -> None:
    model.set_operand(model.op("Rescale", 8), 3, VALUE, "logits.sum")


@in_model(19)
def ternary_matmul_has_weights_of_4_bits(model: Bitx) -> None:
    model.set_operand(model.op("TernaryMatMul"), 1, TENSOR, "gate2.weight")


@in_model(19)
def norm_has_no_heads(model: Bitx) -> None:
    model.op("RmsNorm", 4).attributes[1] = 0


@in_model(19)
def norm_heads_do_not_divide_the_columns(model: Bitx) -> None:
    tensor = model.tensor("headed.norm")
    tensor.shape[0], tensor.bytes = 5, 20
    model.data[tensor.at + 20 : tensor.at + 32] = bytes(12)
    model.op("RmsNorm", 4).attributes[1] = 3


@in_model(19)
def norm_weight_is_that_of_the_row(model: Bitx) -> None:
    model.set_operand(model.op("RmsNorm", 4), 1, TENSOR, "head.norm")


@in_model(19)
def silu_makes_other_columns(model: Bitx) -> None:
    model.value("silu").columns //= 2


@in_model(19)
def group_embed_reads_floats(model: Bitx) -> None:
    model.set_operand(model.op("GroupEmbed"), 0, VALUE, "x2")


@in_model(19)
def group_embed_has_a_plain_table(model: Bitx) -> None:
    model.set_operand(model.op("GroupEmbed"), 1, TENSOR, "embedding")


@in_model(19)
def group_embed_has_the_scales_of_another_table(model: Bitx) -> None:
    model.set_operand(model.op("GroupEmbed"), 2, TENSOR, "gate2.scale")


# Rule 20.


@in_model(20)
def fusion_is_unknown(model: Bitx) -> None:
    model.op("RmsNorm").fusion = 8


@in_model(20)
def fusion_covers_one_op_too_many(model: Bitx) -> None:
    model.op("RmsNorm").covers = 3


@in_model(20)
def fusion_covers_ops_of_another_kind(model: Bitx) -> None:
    model.op("RmsNorm").fusion = 2


@in_model(20)
def fusion_without_ops(model: Bitx) -> None:
    model.op("RmsNorm").covers = 0


@in_model(20)
def ops_covered_without_a_fusion(model: Bitx) -> None:
    model.op("Embed").covers = 1


@in_model(20)
def fusion_goes_on_past_the_last_op(model: Bitx) -> None:
    model.ops[-1].fusion, model.ops[-1].covers = 2, 2


@in_model(20)
def two_fusions_overlap(model: Bitx) -> None:
    model.op("Mul").fusion, model.op("Mul").covers = 4, 3


@in_model(20)
def value_outside_any_fusion_has_no_fused_slot(model: Bitx) -> None:
    model.value("x1").fused_slot = NONE


@in_model(20)
def value_inside_a_fusion_has_a_fused_slot(model: Bitx) -> None:
    model.value("key.sum").fused_slot = model.value("key.rope").fused_slot


@in_model(20)
def square_of_a_fusion_is_none(model: Bitx) -> None:
    model.set_operand(model.op("Mul"), 1, VALUE, "up")


@in_model(20)
def square_of_a_fusion_comes_second(model: Bitx) -> None:
    last = model.op("Mul", 1)
    model.set_operand(last, 0, VALUE, "up")
    model.set_operand(last, 1, VALUE, "relu2")


@in_model(20)
def square_of_a_fusion_is_squared_again(model: Bitx) -> None:
    model.set_operand(model.op("Mul", 1), 1, VALUE, "relu2")


@in_model(20)
def value_inside_a_fusion_is_used_elsewhere(model: Bitx) -> None:
    model.set_operand(model.op("Add"), 0, VALUE, "attention.h")


@in_model(20)
def fused_norm_has_two_heads(model: Bitx) -> None:
    norm = model.op("RmsNorm")
    norm.attributes[1] = 2
    model.set_operand(norm, 1, TENSOR, "headed.norm")


def without_the_first_product(model: Bitx, product: str, occurrence: int, fusion: int) -> None:
    """Fuse only the second product with a Rescale that takes both, its own sums first."""
    first, second = model.op(product, occurrence), model.op(product, occurrence + 1)
    rescale = model.ops[model.ops.index(second) + 1]
    first.fusion = first.covers = 0
    model.values[model.operand(first, 2)[1]].fused_slot = len(model.values) - 1
    second.fusion, second.covers = fusion, 2
    high, low = model.operand(rescale, 0), model.operand(rescale, 3)
    model.operands[rescale.first], model.operands[rescale.first + 3] = low, high


@in_model(20)
def fused_rescale_of_one_ternary_product_has_a_low_sum(model: Bitx) -> None:
    without_the_first_product(model, "TernaryMatMul", 8, 2)


@in_model(20)
def fused_rescale_of_one_dense_product_has_a_low_sum(model: Bitx) -> None:
    without_the_first_product(model, "DenseMatMul", 0, 3)


@in_model(20)
def fused_silu_comes_second(model: Bitx) -> None:
    gate = model.op("Mul", 2)
    model.set_operand(gate, 0, VALUE, "up2")
    model.set_operand(gate, 1, VALUE, "silu")


@in_model(20)
def fused_silu_is_squared(model: Bitx) -> None:
    model.set_operand(model.op("Mul", 2), 1, VALUE, "silu")


@in_model(20)
def fused_products_have_two_ternary_weights(model: Bitx) -> None:
    model.set_operand(model.op("TernaryMatMul", 9), 1, TENSOR, "binary.weight")


@in_model(20)
def fused_products_have_two_dense_weights(model: Bitx) -> None:
    weight = model.tensor("dense.weight")
    model.tensors.append(dataclasses.replace(weight, name=model.string("another")))
    model.tensors[-1].at = len(model.data) + -len(model.data) % 64
    model.data += bytes(-len(model.data) % 64 + weight.bytes)
    model.set_operand(model.op("DenseMatMul", 1), 1, TENSOR, "another")


def looked_up(model: Bitx, name: str) -> None:
    """Add `another` tensor: the shape of one in p2r, zeros in p2b."""
    weight, whole = model.tensor(name), -len(model.data) % 64
    size = -(-weight.shape[0] // 16) * -(-weight.shape[1] // 24) * 96
    another = dataclasses.replace(weight, name=model.string("another"), layout=P2B, bytes=size)
    model.tensors.append(another)
    another.at = len(model.data) + whole
    model.data += bytes(whole + size)


@in_model(20)
def fused_products_are_looked_up(model: Bitx) -> None:
    looked_up(model, "fine.weight")
    for product in (8, 9):
        model.set_operand(model.op("TernaryMatMul", product), 1, TENSOR, "another")


@in_model(20)
def fused_products_change_places(model: Bitx) -> None:
    rescale = model.op("Rescale", 8)
    model.set_operand(rescale, 0, VALUE, "fine.low_sum")
    model.set_operand(rescale, 3, VALUE, "fine.sum")


@in_model(20)
def fused_products_are_one(model: Bitx) -> None:
    model.set_operand(model.op("Rescale", 9), 3, VALUE, "dense.sum")


@in_model(20)
def fused_rescale_of_two_products_takes_one(model: Bitx) -> None:
    rescale = model.op("Rescale", 8)
    del model.operands[rescale.first + 3]
    rescale.inputs = 3
    for later in model.ops[model.ops.index(rescale) + 1 :]:
        later.first -= 1


@in_model(20)
def low_sum_inside_a_fusion_has_a_fused_slot(model: Bitx) -> None:
    model.value("fine.low_sum").fused_slot = model.value("fine.low").fused_slot


# Rule 21.


@in_model(21)
def operand_kind_is_3(model: Bitx) -> None:
    model.operands[4] = (3, 0)


@in_model(21)
def operand_value_is_past_end(model: Bitx) -> None:
    model.operands[model.op("Add").first] = (VALUE, len(model.values))


@in_model(21)
def operand_tensor_is_past_end(model: Bitx) -> None:
    model.operands[model.op("TernaryMatMul").first + 1] = (TENSOR, len(model.tensors))


@in_model(21)
def output_is_a_tensor(model: Bitx) -> None:
    model.operands[model.op("Add").first + 2] = (3, model.value_index("x1"))


# Rule 22.


@in_model(22)
def value_is_read_before_it_is_made(model: Bitx) -> None:
    model.set_operand(model.op("Add"), 0, VALUE, "x2")


@in_model(22)
def value_is_made_twice(model: Bitx) -> None:
    model.set_operand(model.op("Add", 2), 2, VALUE, "x1")


@in_model(22)
def op_writes_an_input(model: Bitx) -> None:
    model.value("x1").role = INPUT


@in_model(19)  # and rule 22: the op's own demands are looked at first
def op_that_does_not_append_writes_a_state(model: Bitx) -> None:
    state = model.value("keys")
    model.value("key.rope").role, model.value("key.rope").row_kind = STATE, CONTEXT
    model.value("key.rope").dtype, model.value("key.rope").slot = F32, len(model.values) - 1
    model.value("key.rope").fused_slot = len(model.values) - 1
    assert state.columns == model.value("key.rope").columns


@in_model(19)
def codes_of_the_cache_are_halves(model: Bitx) -> None:
    model.value("keys.codes").dtype = F16


@in_model(19)
def codes_have_too_many_scales(model: Bitx) -> None:
    model.value("values.scales").columns += 1


@in_model(19)
def scales_of_codes_are_halves(model: Bitx) -> None:
    model.value("keys.scales").dtype = F16


@in_model(19)
def codes_are_attended_to_without_scales(model: Bitx) -> None:
    model.set_operand(model.op("Attend"), 1, VALUE, "keys.codes")


@in_model(19)
def halves_are_attended_to_as_codes(model: Bitx) -> None:
    model.set_operand(model.op("AttendInt8"), 3, VALUE, "values")


@in_model(19)
def codes_stand_where_their_scales_belong(model: Bitx) -> None:
    model.set_operand(model.op("AttendInt8"), 2, VALUE, "keys.codes")


@in_model(19)
def scales_are_no_state(model: Bitx) -> None:
    model.set_operand(model.op("AttendInt8"), 4, VALUE, "attention.scale")


@in_model(19)
def codes_are_for_more_heads_than_there_are_scales(model: Bitx) -> None:
    model.op("AttendInt8").attributes[1] += 1


@in_model(19)
def floats_are_appended_to_codes(model: Bitx) -> None:
    for operand in (0, 2):
        model.set_operand(model.op("AppendCache"), operand, VALUE, "keys.codes")


@in_model(19)
def heads_of_codes_are_0(model: Bitx) -> None:
    model.op("AppendCacheInt8").attributes[0] = 0


@in_model(19)  # and rule 22: the op's own demands are looked at first
def append_writes_the_scales_of_another_state(model: Bitx) -> None:
    model.set_operand(model.op("AppendCacheInt8"), 4, VALUE, "values.scales")
    model.set_operand(model.op("AppendCacheInt8", 1), 4, VALUE, "keys.scales")


@in_model(22)
def codes_are_appended_to_twice(model: Bitx) -> None:
    second = model.op("AppendCacheInt8", 1)
    for operand, name in ((0, "codes"), (1, "scales"), (3, "codes"), (4, "scales")):
        model.set_operand(second, operand, VALUE, f"keys.{name}")


@in_model(22)
def scales_have_two_writers(model: Bitx) -> None:
    second = model.op("AppendCacheInt8", 1)
    for operand in (1, 4):
        model.set_operand(second, operand, VALUE, "keys.scales")


@in_model(22)
def codes_are_read_before_they_are_appended_to(model: Bitx) -> None:
    put_behind(model, model.op("AppendCacheInt8", 1), model.op("AttendInt8"))


@in_model(22)
def state_is_appended_to_twice(model: Bitx) -> None:
    second = model.op("AppendCache", 1)
    model.set_operand(second, 0, VALUE, "keys")
    model.set_operand(second, 2, VALUE, "keys")


@in_model(19)  # and rule 22: the op's own demands are looked at first
def append_reads_one_state_and_writes_another(model: Bitx) -> None:
    model.set_operand(model.op("AppendCache"), 2, VALUE, "values")
    model.set_operand(model.op("AppendCache", 1), 2, VALUE, "keys")


@in_model(22)
def value_is_made_by_no_op(model: Bitx) -> None:
    name = model.string("orphan")
    model.values.append(Value(name, F32, CALL, 0, 16, INTERNAL, 0, NONE))
    model.values[-1].fused_slot = model.value("tokens").fused_slot


@in_model(22)
def cache_is_read_before_it_is_appended_to(model: Bitx) -> None:
    put_behind(model, model.op("AppendCache", 1), model.op("Attend"))


def put_behind(model: Bitx, moved: tiny.Op, later: tiny.Op) -> None:
    """Move an op behind a later one."""
    ops = [op for op in model.ops if op is not moved]
    ops.insert(ops.index(later) + 1, moved)
    operands = [model.operands[op.first : op.first + op.inputs + op.outputs] for op in ops]
    model.ops, model.operands = ops, [operand for each in operands for operand in each]
    for op, above in zip(ops, range(len(ops)), strict=True):
        op.first = sum(map(len, operands[:above]))


# Rule 23.


@in_model(23)
def two_living_values_share_a_slot(model: Bitx) -> None:
    model.value("x1").slot = model.value("mlp.q").slot


@in_model(23)
def two_living_values_share_a_fused_slot(model: Bitx) -> None:
    model.value("x1").fused_slot = model.value("mlp.q").fused_slot


@in_model(23)
def op_overwrites_what_it_reads(model: Bitx) -> None:
    model.value("x2").slot = model.value("x1").slot


# Reserved fields, which belong to the rule that reads their record first.


@in_model(8)
def reserved_field_of_the_facts_is_not_0(model: Bitx) -> None:
    model.facts.reserved = bytes(15) + b"\1"


@in_model(11)
def reserved_field_of_a_tensor_is_not_0(model: Bitx) -> None:
    model.tensors[2].reserved = 1


@in_model(11)
def last_field_of_a_tensor_is_not_0(model: Bitx) -> None:
    model.tensors[2].reserved_end = 1 << 63


@in_model(15)
def reserved_field_of_a_value_is_not_0(model: Bitx) -> None:
    model.values[2].reserved = b"\1" + bytes(11)


@in_model(17)
def reserved_field_of_an_op_is_not_0(model: Bitx) -> None:
    model.ops[2].reserved = 1


@in_file(5)
def reserved_field_of_the_table_is_not_0(file: bytes) -> bytes:
    return edited(file, table_row(file, DATA) + 4, "<I", lambda _: 1)


# ---- Rules that other calls check -------------------------------------------------------------


def self_test_faults() -> dict[str, Callable[[Bitx], None]]:
    """Return rule 25 broken in every way."""

    def no_prompt(model: Bitx) -> None:
        model.self_test.prompt = []

    def nothing_generated(model: Bitx) -> None:
        model.self_test.generated = []

    def one_chain_missing(model: Bitx) -> None:
        model.self_test.chains -= 1

    def one_chain_too_many(model: Bitx) -> None:
        model.self_test.chains += 1

    def op_outputs_of_another_plan(model: Bitx) -> None:
        model.self_test.op_outputs -= 1
        model.self_test.chains -= 1

    def token_count_wraps_around(model: Bitx) -> None:
        model.self_test.prompt_count = 0xFFFFFFFF

    def prompt_token_outside_the_vocabulary(model: Bitx) -> None:
        model.self_test.prompt[1] = model.facts.vocabulary

    def generated_token_outside_the_vocabulary(model: Bitx) -> None:
        model.self_test.generated[0] = 0xFFFFFFFF

    def more_tokens_than_the_context_holds(model: Bitx) -> None:
        model.self_test.generated = [5] * (model.facts.context + 2 - len(model.self_test.prompt))

    return {
        name: change for name, change in locals().items() if not name.startswith("_")
    }  # fmt: skip


# ---- Sound files that no memory holds ----------------------------------------------------------

ROW, WIDEST, WIDEST_ROW, MOST_ROWS = 64, 2**24, 2**26, 2**32 - 1
WRAPS = 2**64


def fill(model: Bitx, size: int) -> Bitx:
    """Add inputs that nobody reads, which take so many bytes of arena: a multiple of 64."""
    name = model.string("filler")
    extents = [(MOST_ROWS, WIDEST)] * (size // (MOST_ROWS * WIDEST_ROW))
    rest = size % (MOST_ROWS * WIDEST_ROW)
    extents += [(rest // WIDEST_ROW, WIDEST), (rest % WIDEST_ROW // ROW, 1)]
    for rows, columns in extents:
        slot = len(model.values)
        if rows:
            model.values.append(Value(name, F32, FIXED, rows, columns, INPUT, slot, slot))
    return model


OVERSIZED = {
    "slots_wrap_to_nothing": WRAPS,
    "slots_wrap_to_little": WRAPS + 64 * ROW,
    "slots_wrap_twice": 2 * WRAPS,
    "slots_stop_right_below_the_end": WRAPS - ROW,
}


# ---- The checking program ---------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the program said about one file."""

    words: tuple[str, ...]

    def of(self, what: str) -> tuple[int, ...] | None:
        """Return the numbers behind a word, or none when it was not said."""
        if what not in self.words:
            return None
        rest = self.words[self.words.index(what) + 1 :]
        end = next((at for at, word in enumerate(rest) if word.isalpha()), len(rest))
        return tuple(map(int, rest[:end]))

    @property
    def opened(self) -> tuple[int, int]:
        """Return the status of opening, and the rule."""
        status, rule, _ = self.of("open") or (0, 0, 0)
        return status, rule


Check = Callable[[Iterable[bytes]], list[Facts]]


@pytest.fixture(scope="session")
def check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Return a function that shows files to the loader, built with sanitizers."""
    folder = tmp_path_factory.mktemp("loader")
    target, root = find_target("host"), runtime_root()
    compiler = (target.compiler, *library_flags(target, root), *SANITIZERS)
    objects = []
    for source in sources(target, root):
        objects.append(folder / f"{source.path.stem}.o")
        command = [*compiler, *source.flags, "-c", str(source.path), "-o", str(objects[-1])]
        subprocess.run(command, cwd=root, check=True)
    program = folder / "check_loader"
    main = Path(__file__).with_name("check_loader.c").resolve()
    subprocess.run([*compiler, str(main), *objects, "-o", str(program)], cwd=root, check=True)

    def run(files: Iterable[bytes]) -> list[Facts]:
        stream = folder / "stream"
        with stream.open("wb") as out:
            for file in files:
                out.write(struct.pack("<Q", len(file)) + file)
        with stream.open("rb") as given:
            done = subprocess.run(
                [program],
                stdin=given,
                capture_output=True,
                text=True,
                env={},
                timeout=300,
                check=False,
            )
        said = [Facts(tuple(line.split())) for line in done.stdout.splitlines()]
        assert done.returncode == 0, f"file {len(said)} stops the loader:\n{done.stderr[:4000]}"
        return said

    return run


def rows_of(file: bytes) -> Sequence[tuple[int, int, int]]:
    """Return id, offset and bytes of every section."""
    (count,) = struct.unpack_from("<I", file, 24)
    rows = [struct.unpack_from("<2I2Q", file, HEADER_BYTES + ROW_BYTES * i) for i in range(count)]
    return [(ident, at, size) for ident, _, at, size in rows]


# ---- The tests --------------------------------------------------------------------------------


def test_a_sound_file_opens_and_runs(check: Check) -> None:
    (said,) = check([tiny.tiny().write()])
    assert said.opened == (OK, 0), said
    assert said.of("hashes") == (OK, 0, 0)
    # The chains of this file are zeros: both self-tests run, and find their first difference.
    assert (said.of("chains") or ())[0] == SELF_TEST
    assert (said.of("fused") or ())[0] == SELF_TEST
    assert said.of("step") == (OK,)


@pytest.mark.parametrize(
    ("tokens", "stop", "temperature", "expected"),
    [
        (12, 3, 1.0, (OK, 0, 0)), (11, 3, 1.0, (FORMAT, 26, 0)),
        (12, tiny.VOCABULARY, 1.0, (FORMAT, 27, 0)), (12, 3, 0.0, (FORMAT, 28, 0)),
    ],
)  # fmt: skip
def test_tables_of_text_are_checked(
    check: Check, tokens: int, stop: int, temperature: float, expected: tuple[int, ...]
) -> None:
    tokenizer = tiny_tables.character_tables()
    tokenizer.header = {3: tokens}
    chat = tiny_tables.chat_section({(0, 1): b"<s>"}, stops=[stop])
    model = tiny.tiny()
    for ident, section in ((9, tokenizer.write()), (10, chat)):
        model.extra.append(Row(ident, section, len(section)))
    generation = struct.pack("<IfIfffff32x", 1, temperature, 5, 1.0, 0.0, 1.0, 0.0, 0.0)
    model.extra.append(Row(11, generation, 1))
    (said,) = check([model.write()])
    assert said.opened == (OK, 0), said
    assert said.of("hashes") == (OK, 0, 0)
    assert said.of("text") == expected


@pytest.mark.parametrize("name", OVERSIZED)
def test_a_session_that_no_memory_holds_is_refused(check: Check, name: str) -> None:
    (said,) = check([fill(tiny.tiny(), OVERSIZED[name]).write()])
    assert said.opened == (OK, 0), said
    assert said.of("size") == (ARGUMENT, 0)
    assert said.of("step") is None


def test_no_part_of_a_session_wraps_around_the_end_of_memory(check: Check) -> None:
    (sound,) = check([tiny.tiny().write()])
    _, needed = sound.of("size") or (0, 0)
    rooms = range(0, 2 * needed, ROW)
    said = check(fill(tiny.tiny(), WRAPS - room).write() for room in rooms)
    fit = 0
    for room, facts in zip(rooms, said, strict=True):
        status, size = facts.of("size") or (0, 0)
        fit += status == OK
        assert facts.opened == (OK, 0), facts
        assert (status, size) == (ARGUMENT, 0) or size > WRAPS - room, f"room {room}: {facts}"
    assert 0 < fit < len(said)


def test_every_rule_of_opening_is_broken_here() -> None:
    assert {fault.rule for fault in FAULTS} == set(range(1, 24))


def test_every_fault_gets_its_status_and_its_rule(check: Check) -> None:
    said = check(fault.write() for fault in FAULTS)
    wrong = [
        f"{fault.name}: not {fault.status} by rule {fault.rule}, but {' '.join(facts.words)}"
        for fault, facts in zip(FAULTS, said, strict=True)
        if facts.opened != (fault.status, fault.rule)
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_a_flip_in_any_section_opens_or_not_but_never_passes_the_hashes(check: Check) -> None:
    file = tiny.tiny().write()
    places = [at + size // 2 for _, at, size in rows_of(file)]
    said = check(file[:at] + bytes([file[at] ^ 0x10]) + file[at + 1 :] for at in places)
    assert said[6].opened == (OK, 0), "a weight is nobody's business but the hash's"
    for facts in said:
        if facts.opened[0] == OK:
            assert (facts.of("hashes") or ())[:2] == (HASH, 24), facts


@pytest.mark.parametrize("name", self_test_faults())
def test_a_damaged_self_test_is_damage_and_not_a_difference(check: Check, name: str) -> None:
    model = tiny.tiny()
    self_test_faults()[name](model)
    (said,) = check([model.write()])
    assert said.opened == (OK, 0)
    assert (said.of("hashes") or ())[0] == OK
    assert (said.of("chains") or ())[0] == FORMAT, said
    assert (said.of("fused") or ())[0] == FORMAT, said


def test_a_file_cut_anywhere_is_cut(check: Check) -> None:
    file = tiny.tiny().write()
    lengths = [*range(4096), *range(4096, len(file), 97), len(file) - 1]
    for length, facts in zip(lengths, check(file[:n] for n in lengths), strict=True):
        expected = (MAGIC, 1) if length < HEADER_BYTES else (TRUNCATED, 3)
        assert facts.opened == expected, f"cut to {length} bytes: {facts}"


def test_a_cut_file_that_says_so_is_never_read_past_its_end(check: Check) -> None:
    file = tiny.tiny().write()
    lengths = [*range(HEADER_BYTES, 4096), *range(4096, len(file), 97)]
    cut = (sealed(file[:16] + struct.pack("<Q", n) + file[24:n]) for n in lengths)
    for length, facts in zip(lengths, check(cut), strict=True):
        assert facts.opened[0] != OK, f"cut to {length} bytes: {facts}"


def test_flipped_bytes_of_header_and_table_never_open(check: Check) -> None:
    file = tiny.tiny().write()
    end = HEADER_BYTES + ROW_BYTES * len(rows_of(file))
    chance = random.Random(1)
    places = [(at, 1 << chance.randrange(8)) for at in range(end)]
    for (at, bit), facts in zip(
        places, check(flipped(file, *place) for place in places), strict=True
    ):
        assert facts.opened[0] in {MAGIC, VERSION, TRUNCATED, FORMAT, HASH}, (
            f"{at} ^ {bit}: {facts}"
        )


def test_no_flipped_byte_stops_the_loader(check: Check) -> None:
    file = tiny.tiny().write()
    chance = random.Random(2)
    places = [(chance.randrange(len(file)), chance.randrange(1, 256)) for _ in range(2000)]
    for (at, bits), facts in zip(places, check(flipped(file, *p) for p in places), strict=True):
        if facts.opened[0] == OK:
            assert (facts.of("hashes") or ())[:2] == (HASH, 24), f"{at} ^ {bits}: {facts}"


def test_no_flipped_byte_of_a_record_stops_the_loader_when_the_hashes_agree(check: Check) -> None:
    file = tiny.tiny().write()
    chance = random.Random(3)
    records = [at for ident, start, size in rows_of(file) if ident != DATA
               for at in range(start, start + size)]  # fmt: skip
    records += range(HEADER_BYTES + ROW_BYTES * len(rows_of(file)))
    places = [(chance.choice(records), chance.randrange(1, 256)) for _ in range(2000)]
    said = check(rehashed(flipped(file, *place)) for place in places)
    assert len(said) == len(places)
    assert any(facts.opened[0] == OK for facts in said), "some flips leave a sound file"


VALUES, OPS = 5, 6
OPERANDS_OF_OPS = 7
NUMBERS = (0, 1, 2, 3, 127, 0x80, 0xFF, 0x101, 0x10000, 0x01010101, 0x7F800000, 0xFFFFFFFF)


@pytest.fixture(scope="session", params=["rows", "pictures"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the file of a network that has every op of networks."""
    folder = tmp_path_factory.mktemp(request.param)
    write = {"rows": write_rows, "pictures": write_pictures}[request.param]
    source = Wanted(compile_library=False)
    path = write(folder / "network.onnx")
    return build_bundle(
        path, find_target("host"), Options(), folder / "out", source
    ).data.read_bytes()


def replaced(file: bytes, at: int, number: int) -> bytes:
    """Return the file with another number somewhere."""
    return edited(file, at, "<I", lambda _: number)


def rule_of_reference(file: bytes) -> int:
    """Return the rule that the second reader finds broken, 0 for none."""
    try:
        read_bitx(file)
    except BitxError as error:
        return error.rule
    return 0


def test_both_readers_find_the_same_rule_broken_in_a_network(check: Check, network: bytes) -> None:
    """Every number of every op, value and operand, changed: what opens can be run."""
    places = [
        at for ident, start, size in rows_of(network) if ident in (VALUES, OPS, OPERANDS_OF_OPS)
        for at in range(start, start + size, 4)
    ]  # fmt: skip
    chance = random.Random(4)
    changes = [(at, number) for at in places for number in chance.sample(NUMBERS, 3)]
    files = [network, *(replaced(network, at, number) for at, number in changes)]
    said = check(files)
    assert said[0].opened == (OK, 0)
    assert said[0].of("network") == (OK, OK)
    opened = 0
    for file, facts in zip(files, said, strict=True):
        status, rule = facts.opened
        opened += status == OK
        assert rule == rule_of_reference(file), facts
    assert 1 < opened < len(said)


def flipped(file: bytes, at: int, bits: int) -> bytes:
    """Return the file with bits of one byte turned over."""
    return file[:at] + bytes([file[at] ^ bits]) + file[at + 1 :]


def rehashed(file: bytes) -> bytes:
    """Return the file with the hashes that its sections have, as far as they can be found."""
    (count,) = struct.unpack_from("<I", file, 24)
    if HEADER_BYTES + ROW_BYTES * count > len(file):
        return sealed(file)
    table = bytearray(file)
    for at in range(HEADER_BYTES, HEADER_BYTES + ROW_BYTES * count, ROW_BYTES):
        start, size = struct.unpack_from("<2Q", file, at + 8)
        table[at + 32 : at + 64] = hashlib.sha256(file[start : start + size]).digest()
    return sealed(bytes(table))
