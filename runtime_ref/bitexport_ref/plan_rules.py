"""The rules that a plan keeps as a whole: R17 to R20, R22 and R23 of FORMAT.md."""

from __future__ import annotations

import itertools
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from bitexport_ref.bitx_records import (
    Bitx,
    Dtype,
    Layout,
    Op,
    OpCode,
    Operand,
    OperandKind,
    Role,
    RowKind,
    Tensor,
    Value,
    require,
)

LONGEST_INTEGER_SUM = 131056
SMALLEST_GROUP = 16
LARGEST_GROUP = 4096

INPUT_COUNTS: dict[OpCode, tuple[int, ...]] = {
    OpCode.EMBED: (2, 3),
    OpCode.RMS_NORM: (2,),
    OpCode.QUANTIZE_ROWS: (1,),
    OpCode.TERNARY_MATMUL: (2,),
    OpCode.DENSE_MATMUL: (2,),
    OpCode.RESCALE: (3, 4),
    OpCode.ROPE: (3,),
    OpCode.APPEND_CACHE: (2,),
    OpCode.ATTEND: (3,),
    OpCode.RELU: (1,),
    OpCode.ADD: (2,),
    OpCode.MUL: (2,),
    OpCode.SILU: (1,),
    OpCode.QUANTIZE_ROWS_INT4: (1,),
    OpCode.QUANTIZE_ROWS_INT16: (1,),
    OpCode.QUANTIZE_GROUPS: (1,),
    OpCode.GROUP_MATMUL: (4, 5),
    OpCode.GROUP_EMBED: (3,),
    OpCode.APPEND_CACHE_INT8: (3,),
    OpCode.ATTEND_INT8: (5,),
    OpCode.AFFINE: (3,),
    OpCode.THRESHOLD: (2,),
    OpCode.QUANTIZE_FIXED: (1,),
    OpCode.CHANNELS_LAST: (1,),
    OpCode.CHANNELS_FIRST: (1,),
    OpCode.PATCHES: (1,),
    OpCode.DEPTHWISE_CONV: (2,),
    OpCode.POOL_MAX: (1,),
    OpCode.POOL_MEAN: (1,),
    OpCode.SOFTMAX: (1,),
}
OUTPUT_COUNTS = {
    OpCode.QUANTIZE_ROWS: 2,
    OpCode.QUANTIZE_ROWS_INT4: 2,
    OpCode.QUANTIZE_ROWS_INT16: 3,
    OpCode.QUANTIZE_GROUPS: 2,
    OpCode.APPEND_CACHE_INT8: 2,
}
ATTRIBUTE_COUNTS = {
    OpCode.RMS_NORM: 2,
    OpCode.ROPE: 1,
    OpCode.APPEND_CACHE: 1,
    OpCode.ATTEND: 3,
    OpCode.QUANTIZE_GROUPS: 1,
    OpCode.GROUP_MATMUL: 1,
    OpCode.GROUP_EMBED: 1,
    OpCode.APPEND_CACHE_INT8: 1,
    OpCode.ATTEND_INT8: 3,
    OpCode.THRESHOLD: 2,
    OpCode.QUANTIZE_FIXED: 3,
    OpCode.CHANNELS_LAST: 1,
    OpCode.PATCHES: 4,
    OpCode.DEPTHWISE_CONV: 4,
    OpCode.POOL_MAX: 4,
    OpCode.POOL_MEAN: 4,
}
APPENDS = (OpCode.APPEND_CACHE, OpCode.APPEND_CACHE_INT8)
ATTENDS = (OpCode.ATTEND, OpCode.ATTEND_INT8)
FUSIONS = {
    1: (OpCode.RMS_NORM, OpCode.QUANTIZE_ROWS),
    2: (OpCode.TERNARY_MATMUL, OpCode.RESCALE),
    3: (OpCode.DENSE_MATMUL, OpCode.RESCALE),
    4: (OpCode.RELU, OpCode.MUL, OpCode.MUL),
    5: (OpCode.SILU, OpCode.MUL),
    6: (OpCode.TERNARY_MATMUL, OpCode.TERNARY_MATMUL, OpCode.RESCALE),
    7: (OpCode.DENSE_MATMUL, OpCode.DENSE_MATMUL, OpCode.RESCALE),
}
_NORM_AND_QUANTIZE = 1
_PRODUCT_AND_RESCALE = (2, 3)
_SQUARE_AND_GATE = 4
_SILU_AND_GATE = 5
_TWO_PRODUCTS = (6, 7)

_PACKED = (Layout.P2R, Layout.B1R, Layout.Q4R)
_LOOKED_UP = (Layout.P2B, Layout.P16)
_OF_PICTURES = (
    OpCode.CHANNELS_LAST,
    OpCode.CHANNELS_FIRST,
    OpCode.PATCHES,
    OpCode.DEPTHWISE_CONV,
    OpCode.POOL_MAX,
    OpCode.POOL_MEAN,
)
_CODES = range(-128, 128)
_INFINITY_BITS = 0x7F800000
_TRITS_OR_SIGNS = (Layout.P2R, Layout.B1R, Layout.P2B, Layout.T5X3, Layout.P16)

Lifetimes = dict[int, tuple[int, int]]


def check_plan(bitx: Bitx) -> None:
    """Check what a plan promises; its records have been read, so every index is sound."""
    for index, op in enumerate(bitx.ops):
        _check_record(f"op {index} ({op.code.name})", op)
    for index, op in enumerate(bitx.ops):
        _check_operands(f"op {index} ({op.code.name})", op, bitx)
    _check_writers(bitx)
    heads = _check_fusions(bitx)
    _check_slots(bitx, [value.slot for value in bitx.values], list(range(len(bitx.ops))))
    _check_slots(bitx, [value.fused_slot for value in bitx.values], heads)


# ---- one record: R17, R18 --------------------------------------------------------------------


def _check_record(at: str, op: Op) -> None:
    """Check attributes (R17) and the numbers of operands (R18)."""
    used = ATTRIBUTE_COUNTS.get(op.code, 0)
    require(17, not any(op.attributes[used:]), f"{at}: an unused attribute is not 0")
    outputs = OUTPUT_COUNTS.get(op.code, 1)
    require(18, len(op.inputs) in INPUT_COUNTS[op.code], f"{at}: {len(op.inputs)} inputs")
    require(18, len(op.outputs) == outputs, f"{at}: {len(op.outputs)} outputs")


# ---- operands: R19 ---------------------------------------------------------------------------


def _check_operands(at: str, op: Op, bitx: Bitx) -> None:
    """Check kinds, dtypes, layouts, shapes and row kinds (R19)."""
    made = [_value(at, bitx, operand) for operand in op.outputs]
    CHECKS[op.code](at, op, bitx, made)
    if op.code in APPENDS or op.code in _OF_PICTURES:
        return
    for number, operand in enumerate(op.inputs):
        is_state = op.code in ATTENDS and number > 0
        if operand.kind == OperandKind.VALUE and not is_state:
            for output in made:
                _check_rows(at, bitx.values[operand.index], output)
    for output in made[1:]:
        same = (output.row_kind, output.rows) == (made[0].row_kind, made[0].rows)
        require(19, same, f"{at}: its outputs differ in rows")


def _check_rows(at: str, given: Value, made: Value) -> None:
    """Rows stay what they are, or the last of them are kept."""
    same = (given.row_kind, given.rows) == (made.row_kind, made.rows)
    kept = (given.row_kind, made.row_kind) == (RowKind.CALL, RowKind.KEPT)
    fits = given.row_kind != RowKind.CONTEXT and (same or kept)
    require(19, fits, f"{at}: rows of `{given.name}` do not become rows of `{made.name}`")


def _check_embed(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    ids = _value(at, bitx, op.inputs[0])
    table = _tensor(at, bitx, op.inputs[1], rank=2)
    _expect(at, ids, Dtype.S32, 1)
    known = table.dtype in (Dtype.F32, Dtype.F16, Dtype.BF16, Dtype.S8)
    require(19, known, f"{at}: a table of {table.dtype.name}")
    scaled = table.dtype == Dtype.S8
    require(19, (len(op.inputs) == 3) == scaled, f"{at}: a scale belongs to s8 tables only")  # noqa: PLR2004
    if scaled:
        _expect_vector(at, _tensor(at, bitx, op.inputs[2], rank=1), (table.shape[0],))
    _expect(at, made[0], Dtype.F32, table.shape[1])


def _check_rms_norm(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    x = _value(at, bitx, op.inputs[0])
    heads = op.attributes[1]
    _expect(at, x, Dtype.F32, x.columns)
    divides = heads > 0 and x.columns % heads == 0
    require(19, divides, f"{at}: {heads} heads, {x.columns} columns")
    _expect_vector(at, _tensor(at, bitx, op.inputs[1], rank=1), (x.columns // heads,))
    _expect(at, made[0], Dtype.F32, x.columns)


def _check_quantize_rows(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    x = _value(at, bitx, op.inputs[0])
    _expect(at, x, Dtype.F32, x.columns)
    require(19, x.columns <= LONGEST_INTEGER_SUM, f"{at}: {x.columns} columns")
    *codes, scale = made
    for each in codes:
        _expect(at, each, Dtype.S8, x.columns)
    groups = 1
    if op.code == OpCode.QUANTIZE_GROUPS:
        groups = _group_count(at, x.columns, op.attributes[0])
    _expect(at, scale, Dtype.F32, groups)


def _check_ternary_matmul(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    weight = _tensor(at, bitx, op.inputs[1], rank=2, layouts=_TRITS_OR_SIGNS)
    n, k = weight.shape
    require(19, k <= LONGEST_INTEGER_SUM, f"{at}: k is {k}")
    _expect(at, _value(at, bitx, op.inputs[0]), Dtype.S8, k)
    _expect(at, made[0], Dtype.S32, n)


def _check_group_matmul(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    weight = _tensor(at, bitx, op.inputs[1], rank=2, layouts=_PACKED)
    n, k = weight.shape
    groups = _group_count(at, k, op.attributes[0])
    for codes in (op.inputs[0], *op.inputs[4:]):
        _expect(at, _value(at, bitx, codes), Dtype.S8, k)
    _expect_group_scale(at, _tensor(at, bitx, op.inputs[2], rank=2), groups, n)
    scale = _value(at, bitx, op.inputs[3])
    _expect(at, scale, Dtype.F32, groups if scale.columns != 1 else 1)
    _expect(at, made[0], Dtype.F32, n)


def _check_group_embed(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    table = _tensor(at, bitx, op.inputs[1], rank=2, layouts=_PACKED)
    vocabulary, columns = table.shape
    groups = _group_count(at, columns, op.attributes[0])
    _expect(at, _value(at, bitx, op.inputs[0]), Dtype.S32, 1)
    _expect_group_scale(at, _tensor(at, bitx, op.inputs[2], rank=2), groups, vocabulary)
    _expect(at, made[0], Dtype.F32, columns)


def _check_dense_matmul(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    weight = _tensor(at, bitx, op.inputs[1], rank=2)
    n, k = weight.shape
    x = _value(at, bitx, op.inputs[0])
    integers = weight.dtype == Dtype.S8
    known = integers or weight.dtype in (Dtype.F32, Dtype.F16, Dtype.BF16)
    require(19, known, f"{at}: a weight of {weight.dtype.name}")
    require(19, k <= LONGEST_INTEGER_SUM or not integers, f"{at}: k is {k}")
    _expect(at, x, Dtype.S8 if integers else Dtype.F32, k)
    _expect(at, made[0], Dtype.S32 if integers else Dtype.F32, n)


def _check_rescale(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    sums = _value(at, bitx, op.inputs[0])
    _expect(at, sums, Dtype.S32, sums.columns)
    _expect(at, _value(at, bitx, op.inputs[1]), Dtype.F32, 1)
    _expect_vector(at, _tensor(at, bitx, op.inputs[2], rank=1), (1, sums.columns))
    for low_sums in op.inputs[3:]:
        _expect(at, _value(at, bitx, low_sums), Dtype.S32, sums.columns)
    _expect(at, made[0], Dtype.F32, sums.columns)


def _check_rope(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    x = _value(at, bitx, op.inputs[0])
    cos, sin = (_tensor(at, bitx, operand, rank=2) for operand in op.inputs[1:])
    require(19, cos.shape == sin.shape, f"{at}: tables {cos.shape} and {sin.shape}")
    require(19, cos.dtype == sin.dtype == Dtype.F32, f"{at}: tables that are not f32")
    positions, half = cos.shape
    require(19, positions >= bitx.facts.context, f"{at}: tables of {positions} positions")
    _expect(at, x, Dtype.F32, op.attributes[0] * half * 2)
    _expect(at, made[0], Dtype.F32, x.columns)
    _expect_position(at, x)


def _check_append_cache(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    *states, x = (_value(at, bitx, operand) for operand in op.inputs)
    heads = op.attributes[0]
    _expect(at, x, Dtype.F32, x.columns)
    require(19, x.row_kind == RowKind.CALL, f"{at}: `{x.name}` has not the rows of the call")
    require(19, heads > 0 and x.columns % heads == 0, f"{at}: {heads} heads")
    _expect_states(at, op, states, x.columns, heads)
    _expect_states(at, op, made, x.columns, heads)
    for before, after in zip(states, made, strict=True):
        _expect(at, after, before.dtype, before.columns)


def _check_attend(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    query, *states = (_value(at, bitx, operand) for operand in op.inputs)
    heads, kv_heads, _, _ = op.attributes
    _expect(at, query, Dtype.F32, query.columns)
    divides = 0 < kv_heads <= heads and query.columns % heads == 0
    require(19, divides, f"{at}: {heads} heads, {kv_heads} kv heads, {query.columns} columns")
    columns = query.columns // heads * kv_heads
    half = len(states) // 2
    for each in (states[:half], states[half:]):
        _expect_states(at, op, each, columns, kv_heads)
    _expect(at, made[0], Dtype.F32, query.columns)
    _expect_position(at, query)


def _check_activation(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    x = _value(at, bitx, op.inputs[0])
    _expect(at, x, Dtype.F32, x.columns)
    _expect(at, made[0], Dtype.F32, x.columns)


def _check_elementwise(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    x = _value(at, bitx, op.inputs[0])
    _expect(at, x, Dtype.F32, x.columns)
    if op.inputs[1].kind == OperandKind.VALUE:
        _expect(at, bitx.values[op.inputs[1].index], Dtype.F32, x.columns)
    else:
        _expect_vector(at, _tensor(at, bitx, op.inputs[1], rank=1), (x.columns,))
    _expect(at, made[0], Dtype.F32, x.columns)


def _check_affine(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    x = _value(at, bitx, op.inputs[0])
    known = x.dtype in (Dtype.F32, Dtype.S32, Dtype.S8)
    require(19, known, f"{at}: `{x.name}` is {x.dtype.name}")
    for operand in op.inputs[1:]:
        _expect_vector(at, _tensor(at, bitx, operand, rank=1), (1, x.columns))
    _expect(at, made[0], Dtype.F32, x.columns)


def _check_threshold(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    x = _value(at, bitx, op.inputs[0])
    levels = _tensor(at, bitx, op.inputs[1], rank=2)
    known = x.dtype in (Dtype.F32, Dtype.S32) and levels.dtype == x.dtype
    require(19, known, f"{at}: levels of {levels.dtype.name} for {x.dtype.name}")
    count, columns = levels.shape
    require(19, columns in (1, x.columns), f"{at}: levels of {columns} columns")
    start, step = (word - (word >> 31 << 32) for word in op.attributes[:2])
    codes = (start, step, start + step * count)
    require(19, all(code in _CODES for code in codes), f"{at}: codes {codes} are not those of s8")
    _expect(at, made[0], Dtype.S8, x.columns)


def _check_quantize_fixed(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    x = _value(at, bitx, op.inputs[0])
    _expect(at, x, Dtype.F32, x.columns)
    require(19, x.columns <= LONGEST_INTEGER_SUM, f"{at}: {x.columns} columns")
    scale, *bounds = op.attributes[:3]
    require(19, 0 < scale < _INFINITY_BITS, f"{at}: its scale is no number above 0")
    least, most = struct.unpack("<2f", struct.pack("<2I", *bounds))
    sound = least < most and {least, most} <= set(map(float, _CODES))
    require(19, sound, f"{at}: codes from {least} to {most}")
    _expect(at, made[0], Dtype.S8, x.columns)


def _fixed(at: str, *values: Value) -> None:
    """Check that values have the rows of one picture."""
    for value in values:
        fits = value.row_kind == RowKind.FIXED
        require(19, fits, f"{at}: `{value.name}` is no picture: its rows are not fixed")


def _check_channels_last(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    x = _value(at, bitx, op.inputs[0])
    channels = op.attributes[0]
    _fixed(at, x, made[0])
    _expect(at, x, Dtype.F32, x.columns)
    require(19, channels > 0 and x.rows % channels == 0, f"{at}: {channels} channels")
    _expect(at, made[0], Dtype.F32, channels)
    fits = made[0].rows == x.rows // channels * x.columns
    require(19, fits, f"{at}: `{made[0].name}` has {made[0].rows} rows")


def _check_channels_first(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    x = _value(at, bitx, op.inputs[0])
    _fixed(at, x, made[0])
    require(19, x.dtype in (Dtype.F32, Dtype.S8), f"{at}: `{x.name}` is {x.dtype.name}")
    _expect(at, made[0], x.dtype, x.rows * x.columns)
    require(19, made[0].rows == 1, f"{at}: `{made[0].name}` has {made[0].rows} rows")


def _check_window(at: str, op: Op, x: Value, y: Value) -> tuple[int, int]:
    """Check the window of an op; return the number of its places, and of those outside of x."""
    size, kernel, pads, steps = op.attributes
    height, width = size & 0xFFFF, size >> 16
    down, right = steps & 0xFFFF, steps >> 16
    of_kernel, of_pads = (list(word.to_bytes(4, "little")) for word in (kernel, pads))
    _fixed(at, x, y)
    fits = (x.rows, y.rows) == (height * width, down * right)
    require(19, fits, f"{at}: pictures of {x.rows} and {y.rows} rows")
    some = all((*of_kernel, *of_pads[2:]))
    require(19, some, f"{at}: a kernel, stride or dilation of 0")
    blind = 0
    for axis, (extent, count) in enumerate(((height, down), (width, right))):
        reach = (count - 1) * of_kernel[2 + axis]
        covers = of_pads[axis] < of_kernel[axis] and reach < extent + of_pads[axis]
        blind += not (covers and of_pads[2 + axis] == 1)
    return of_kernel[0] * of_kernel[1], blind


def _check_patches(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    x = _value(at, bitx, op.inputs[0])
    places, _ = _check_window(at, op, x, made[0])
    require(19, x.dtype in (Dtype.F32, Dtype.S8), f"{at}: `{x.name}` is {x.dtype.name}")
    _expect(at, made[0], x.dtype, places * x.columns)


def _check_depthwise_conv(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    x = _value(at, bitx, op.inputs[0])
    places, _ = _check_window(at, op, x, made[0])
    weight = _tensor(at, bitx, op.inputs[1], rank=2)
    fits = (weight.dtype, weight.shape) == (Dtype.S8, (places, x.columns))
    require(19, fits, f"{at}: a weight {weight.shape} of {weight.dtype.name}")
    _expect(at, x, Dtype.S8, x.columns)
    _expect(at, made[0], Dtype.S32, x.columns)


def _check_pool(at: str, op: Op, bitx: Bitx, made: Sequence[Value]) -> None:
    x = _value(at, bitx, op.inputs[0])
    _, blind = _check_window(at, op, x, made[0])
    require(19, not blind, f"{at}: a window that sees nothing but padding")
    codes = x.dtype == Dtype.S8 and op.code == OpCode.POOL_MAX
    require(19, codes or x.dtype == Dtype.F32, f"{at}: `{x.name}` is {x.dtype.name}")
    _expect(at, made[0], x.dtype, x.columns)


CHECKS: dict[OpCode, Callable[[str, Op, Bitx, Sequence[Value]], None]] = {
    OpCode.EMBED: _check_embed,
    OpCode.RMS_NORM: _check_rms_norm,
    OpCode.QUANTIZE_ROWS: _check_quantize_rows,
    OpCode.TERNARY_MATMUL: _check_ternary_matmul,
    OpCode.DENSE_MATMUL: _check_dense_matmul,
    OpCode.RESCALE: _check_rescale,
    OpCode.ROPE: _check_rope,
    OpCode.APPEND_CACHE: _check_append_cache,
    OpCode.ATTEND: _check_attend,
    OpCode.RELU: _check_activation,
    OpCode.ADD: _check_elementwise,
    OpCode.MUL: _check_elementwise,
    OpCode.SILU: _check_activation,
    OpCode.QUANTIZE_ROWS_INT4: _check_quantize_rows,
    OpCode.QUANTIZE_ROWS_INT16: _check_quantize_rows,
    OpCode.QUANTIZE_GROUPS: _check_quantize_rows,
    OpCode.GROUP_MATMUL: _check_group_matmul,
    OpCode.GROUP_EMBED: _check_group_embed,
    OpCode.APPEND_CACHE_INT8: _check_append_cache,
    OpCode.ATTEND_INT8: _check_attend,
    OpCode.AFFINE: _check_affine,
    OpCode.THRESHOLD: _check_threshold,
    OpCode.QUANTIZE_FIXED: _check_quantize_fixed,
    OpCode.CHANNELS_LAST: _check_channels_last,
    OpCode.CHANNELS_FIRST: _check_channels_first,
    OpCode.PATCHES: _check_patches,
    OpCode.DEPTHWISE_CONV: _check_depthwise_conv,
    OpCode.POOL_MAX: _check_pool,
    OpCode.POOL_MEAN: _check_pool,
    OpCode.SOFTMAX: _check_activation,
}


def _value(at: str, bitx: Bitx, operand: Operand) -> Value:
    """Return the value that an operand is."""
    is_value = operand.kind == OperandKind.VALUE
    require(19, is_value, f"{at}: tensor {operand.index} stands where a value belongs")
    return bitx.values[operand.index]


def _tensor(
    at: str,
    bitx: Bitx,
    operand: Operand,
    *,
    rank: int,
    layouts: tuple[Layout, ...] = (Layout.PLAIN,),
) -> Tensor:
    """Return the tensor that an operand is."""
    is_tensor = operand.kind == OperandKind.TENSOR
    require(19, is_tensor, f"{at}: value {operand.index} stands where a tensor belongs")
    tensor = bitx.tensors[operand.index]
    fits = len(tensor.shape) == rank and tensor.layout in layouts
    require(19, fits, f"{at}: `{tensor.name}` has shape {tensor.shape}, layout {tensor.layout}")
    return tensor


def _expect(at: str, value: Value, dtype: Dtype, columns: int) -> None:
    """Check dtype and columns of a value."""
    fits = (value.dtype, value.columns) == (dtype, columns)
    found = f"{value.dtype.name} with {value.columns} columns"
    require(19, fits, f"{at}: `{value.name}` is {found}, not {dtype.name} with {columns}")


def _expect_vector(at: str, tensor: Tensor, sizes: tuple[int, ...]) -> None:
    """Check a tensor of one f32 per column, or per row of a table."""
    fits = tensor.dtype == Dtype.F32 and tensor.shape[0] in sizes
    require(19, fits, f"{at}: `{tensor.name}` is {tensor.dtype.name} {tensor.shape}")


def _expect_group_scale(at: str, tensor: Tensor, groups: int, n: int) -> None:
    """Check the scales of groups of a matrix; 1 stands for groups, or rows, that share one."""
    known = tensor.dtype in (Dtype.F32, Dtype.F16)
    fits = known and tensor.shape[0] in (1, groups) and tensor.shape[1] in (1, n)
    found = f"`{tensor.name}` is {tensor.dtype.name} {tensor.shape}"
    require(19, fits, f"{at}: {found}, for {groups} groups of {n} rows")


def _group_count(at: str, columns: int, group: int) -> int:
    """Check the size of groups and how long their rows are; return how many there are."""
    known = group % SMALLEST_GROUP == 0 and SMALLEST_GROUP <= group <= LARGEST_GROUP
    require(19, known, f"{at}: groups of {group}")
    require(19, columns <= LONGEST_INTEGER_SUM, f"{at}: {columns} columns")
    return -(-columns // group)


def _expect_states(at: str, op: Op, values: Sequence[Value], columns: int, heads: int) -> None:
    """Check the state of keys or of values, and of codes the state of their scales."""
    state, *scales = values
    integers = op.code in (OpCode.APPEND_CACHE_INT8, OpCode.ATTEND_INT8)
    dtypes = (Dtype.S8,) if integers else (Dtype.F32, Dtype.F16)
    fits = state.role == Role.STATE and state.dtype in dtypes
    wanted = " or ".join(dtype.name.lower() for dtype in dtypes)
    require(19, fits, f"{at}: `{state.name}` is no state of {wanted}")
    _expect(at, state, state.dtype, columns)
    for each in scales:
        require(19, each.role == Role.STATE, f"{at}: `{each.name}` is no state of f32")
        _expect(at, each, Dtype.F32, heads)


def _expect_position(at: str, value: Value) -> None:
    """Check that the rows of a value have positions."""
    has = value.row_kind in (RowKind.CALL, RowKind.KEPT)
    require(19, has, f"{at}: the rows of `{value.name}` have no position")


# ---- who writes, who reads: R22 --------------------------------------------------------------


def _check_writers(bitx: Bitx) -> None:
    """Check that every value is written once, before it is read (R22)."""
    written: set[int] = set()
    for index, op in enumerate(bitx.ops):
        at = f"op {index} ({op.code.name})"
        in_place = op.code in APPENDS
        appended = len(op.outputs) if in_place else 0
        same = op.inputs[:appended] == op.outputs[:appended]
        require(22, same, f"{at}: the state is not written in place")
        for number, operand in enumerate(op.inputs):
            if operand.kind == OperandKind.VALUE and number >= appended:
                value = bitx.values[operand.index]
                there = value.role == Role.INPUT or operand.index in written
                require(22, there, f"{at}: reads `{value.name}` before it is written")
        for operand in op.outputs:
            value = bitx.values[operand.index]
            require(22, value.role != Role.INPUT, f"{at}: writes the input `{value.name}`")
            fits = (value.role == Role.STATE) == in_place
            require(22, fits, f"{at}: writes `{value.name}`, of role {value.role.name}")
            once = operand.index not in written
            require(22, once, f"{at}: writes `{value.name}` a second time")
            written.add(operand.index)
    for index, value in enumerate(bitx.values):
        made = value.role == Role.INPUT or index in written
        require(22, made, f"value {index} (`{value.name}`) is written by no op")


# ---- fusions: R20 ----------------------------------------------------------------------------


def _check_fusions(bitx: Bitx) -> list[int]:
    """Check fusions; return for every op the first op of its fusion, or itself (R20)."""
    heads = list(range(len(bitx.ops)))
    between: set[int] = set()
    end = 0
    for index, op in enumerate(bitx.ops):
        at = f"op {index} ({op.code.name})"
        if op.fusion == 0:
            require(20, op.covers == 0, f"{at}: no fusion covers {op.covers} ops")
            continue
        require(20, op.fusion in FUSIONS, f"{at}: fusion {op.fusion}")
        codes = FUSIONS[op.fusion]
        require(20, index >= end, f"{at}: fusions overlap")
        require(20, op.covers == len(codes), f"{at}: fusion {op.fusion} covers {op.covers} ops")
        end = index + op.covers
        covered = bitx.ops[index:end]
        found = tuple(each.code for each in covered)
        require(20, found == codes, f"{at}: fusion {op.fusion} covers {[c.name for c in found]}")
        handed_on = _handed_on(at, op.fusion, covered, bitx)
        between.update(operand.index for operand in handed_on)
        heads[index:end] = [index] * op.covers
    _check_left_out(bitx, heads, between)
    return heads


def _handed_on(at: str, fusion: int, covered: Sequence[Op], bitx: Bitx) -> list[Operand]:
    """Check that ops feed each other as the formula of a fusion says; return what they hand on."""
    *before, last = covered
    if fusion in _TWO_PRODUCTS:
        high, low = before
        feeds = len(last.inputs) == 4 and (last.inputs[0], last.inputs[3]) == (  # noqa: PLR2004
            high.outputs[0],
            low.outputs[0],
        )
        require(20, feeds, f"{at}: Rescale of fusion {fusion} does not take both products")
        same = high.inputs[1] == low.inputs[1]
        require(20, same, f"{at}: the products of fusion {fusion} have two weights")
        layout = bitx.tensors[high.inputs[1].index].layout
        stored_whole = layout not in _LOOKED_UP
        require(20, stored_whole, f"{at}: fusion {fusion} has a weight in layout {layout.name}")
    else:
        for one, next_one in itertools.pairwise(covered):
            feeds = one.outputs[0] == next_one.inputs[0]
            require(20, feeds, f"{at}: an op of fusion {fusion} does not feed the next")
    handed_on = [operand for op in before for operand in op.outputs]
    if fusion == _NORM_AND_QUANTIZE:
        require(20, before[0].attributes[1] == 1, f"{at}: a fused RmsNorm of several heads")
    if fusion in _PRODUCT_AND_RESCALE:
        low_sums = last.inputs[3:]
        require(20, not low_sums, f"{at}: Rescale of fusion {fusion} has a low_sum")
    if fusion == _SQUARE_AND_GATE:
        square = covered[1]
        require(20, square.inputs[0] == square.inputs[1], f"{at}: the first Mul is no square")
    if fusion in (_SQUARE_AND_GATE, _SILU_AND_GATE):
        gate = last.inputs[1]
        stored = gate.kind == OperandKind.VALUE and gate not in handed_on
        require(20, stored, f"{at}: Mul of fusion {fusion} reads what the fusion does not store")
    return handed_on


def _check_left_out(bitx: Bitx, heads: Sequence[int], between: set[int]) -> None:
    """Check that exactly the values inside a fusion have no fused slot (R20)."""
    users: dict[int, set[int]] = defaultdict(set)
    for op, head in zip(bitx.ops, heads, strict=True):
        for index in _values_of((*op.inputs, *op.outputs)):
            users[index].add(head)
    for index, value in enumerate(bitx.values):
        at = f"value {index} (`{value.name}`)"
        if index in between:
            require(20, len(users[index]) == 1, f"{at} is used outside its fusion too")
        left_out = value.fused_slot is None
        require(20, left_out == (index in between), f"{at}: fused slot {value.fused_slot}")


# ---- slots: R23 ------------------------------------------------------------------------------


def _check_slots(bitx: Bitx, slots: Sequence[int | None], steps: Sequence[int]) -> None:
    """Check that values of one slot never live at the same time (R23)."""
    by_slot: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for index, (start, end) in _lifetimes(bitx, steps).items():
        slot = slots[index]
        if slot is not None:
            by_slot[slot].append((start, end, index))
    for slot, lives in by_slot.items():
        lives.sort()
        for (_, end, first), (start, _, second) in itertools.pairwise(lives):
            require(23, end < start, f"values {first} and {second} live in slot {slot} at once")


def _lifetimes(bitx: Bitx, steps: Sequence[int]) -> Lifetimes:
    """Return the first and last step of every value that is not a state."""
    lives: Lifetimes = {
        index: (-1, -1) for index, value in enumerate(bitx.values) if value.role == Role.INPUT
    }
    for op, step in zip(bitx.ops, steps, strict=True):
        for index in _values_of((*op.inputs, *op.outputs)):
            if bitx.values[index].role != Role.STATE:
                lives[index] = (lives.get(index, (step, step))[0], step)
    for index, (start, _) in lives.items():
        if bitx.values[index].role == Role.OUTPUT:
            lives[index] = (start, len(bitx.ops))
    return lives


def _values_of(operands: Iterable[Operand]) -> list[int]:
    """Return the values among operands."""
    return [operand.index for operand in operands if operand.kind == OperandKind.VALUE]
