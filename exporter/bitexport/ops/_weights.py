"""Weights of small integers in standard ops: one text per layout, shared by every op over them.

What a function body says of a layout is a third reading of FORMAT.md, section 3.3, beside those of
`bitexport_ref` and of the C kernels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

GROUPS = """
zero = Constant<value_ints = [0]>()
one = Constant<value_ints = [1]>()
last = Constant<value_ints = [-1]>()
group_scalar = Constant<value_int: int = @group>()
group_dim = Reshape(group_scalar, last)
k_scalar = Constant<value_int: int = @k>()
k_dim = Reshape(k_scalar, last)
before = Sub(k_dim, one)
whole_groups = Div(before, group_dim)
groups = Add(whole_groups, one)
padded_k = Mul(groups, group_dim)
"""
"""How many groups the columns make, and how many columns these have; int64 [1] each."""


CUT = """
rows_scalar = Constant<value_int: int = @n>()
rows = Reshape(rows_scalar, up_minus)
up_starts = Concat<axis = 0>(up_zero, up_zero)
up_ends = Concat<axis = 0>(rows, columns)
up_axes = Concat<axis = 0>(up_zero, up_one)
weights = Slice(whole_tiles, up_starts, up_ends, up_axes)
"""
"""Of `whole_tiles` the `weights`, int8 [n, k]: without padding rows and `columns`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unpacking:
    """How stock runtimes read one layout: a byte holds one column of `fields` groups of 4 rows.

    A field of a byte, its highest bit flipped where `sign` says so, is `code`; the weight is
    `factor * code - bias`.
    """

    suffix: str
    summary: str
    fields: int
    mask: int
    sign: int
    factor: int
    bias: tuple[int, ...]

    @property
    def tile_rows(self) -> int:
        """Rows of a tile."""
        return 4 * self.fields

    def weights_of(self, byte: int) -> list[int]:
        """Return the weights of a byte, the first row's first."""
        bits = 8 // self.fields
        return [
            self.factor * ((byte ^ self.sign) >> bits * field & self.mask) - bias
            for field, bias in enumerate(self.bias)
        ]

    def body(self, packed: str, matrix: str) -> str:
        """Return the ops that make int8 `matrix` [whole tiles of rows, padded columns] of bytes.

        They read attribute `k` and also leave `columns` (k) and `padded`, both int64 [1].
        """
        table = ", ".join(str(weight) for byte in range(256) for weight in self.weights_of(byte))
        return f"""
        up_minus = Constant<value_ints = [-1]>()
        up_one = Constant<value_ints = [1]>()
        up_four = Constant<value_ints = [4]>()
        up_fifteen = Constant<value_ints = [15]>()
        up_sixteen = Constant<value_ints = [16]>()
        columns_scalar = Constant<value_int: int = @k>()
        columns = Reshape(columns_scalar, up_minus)
        columns_up = Add(columns, up_fifteen)
        column_blocks = Div(columns_up, up_sixteen)
        steps = Mul(column_blocks, up_four)
        padded = Mul(column_blocks, up_sixteen)
        tile_shape = Concat<axis = 0>(up_minus, steps, up_four, up_four)
        tiles = Reshape({packed}, tile_shape)
        bytes = Cast<to = 6>(tiles)
        weights_of_bytes = Constant<value = int8[256, {self.fields}] {{{table}}}>()
        values = Gather<axis = 0>(weights_of_bytes, bytes)
        by_row = Transpose<perm = [0, 4, 2, 1, 3]>(values)
        up_matrix_shape = Concat<axis = 0>(up_minus, padded)
        {matrix} = Reshape(by_row, up_matrix_shape)
        """

    def whole(self) -> str:
        """Return the ops that make `weights` int8 [n, k] of the bytes `weight`."""
        return f"""
        {self.body("weight", "whole_tiles")}
        up_zero = Constant<value_ints = [0]>()
        {CUT}
        """


P2R = Unpacking(
    suffix="P2R", summary="Ternary weights in layout p2r: 2 bits each, four rows to a byte",
    fields=4, mask=3, sign=128, factor=1, bias=(1, 1, 1, 2),
)  # fmt: skip
B1R = Unpacking(
    suffix="B1R", summary="Binary weights in layout b1r: 1 bit each, eight rows to a byte",
    fields=8, mask=1, sign=0, factor=2, bias=(1,) * 8,
)  # fmt: skip
Q4R = Unpacking(
    suffix="Q4R", summary="Weights from -8 to 7 in layout q4r: 4 bits each, two rows to a byte",
    fields=2, mask=15, sign=128, factor=1, bias=(8, 8),
)  # fmt: skip
LAYOUTS = (P2R, B1R, Q4R)
"""Those of which a byte holds one column: groups of columns may be cut anywhere."""

P16_WHOLE = (
    """
up_zero = Constant<value_ints = [0]>()
up_one = Constant<value_ints = [1]>()
up_two = Constant<value_ints = [2]>()
up_eight = Constant<value_ints = [8]>()
up_nine = Constant<value_ints = [9]>()
up_ten = Constant<value_ints = [10]>()
up_minus = Constant<value_ints = [-1]>()
columns_scalar = Constant<value_int: int = @k>()
columns = Reshape(columns_scalar, up_minus)
columns_up = Add(columns, up_nine)
column_tiles = Div(columns_up, up_ten)
fives = Mul(column_tiles, up_two)
padded = Mul(column_tiles, up_ten)
tile_shape = Concat<axis = 0>(up_minus, fives, up_eight, up_one)
tiles = Reshape(weight, tile_shape)
bytes = Cast<to = 6>(tiles)
units = Constant<value = int32[5] {1, 3, 9, 27, 81}>()
uppers = Constant<value = int32[5] {3, 9, 27, 81, 256}>()
three = Constant<value = int32 {3}>()
one = Constant<value = int32 {1}>()
from_digit = Div(bytes, units)
behind_digit = Div(bytes, uppers)
behind_wide = Mul(behind_digit, three)
digits = Sub(from_digit, behind_wide)
trits_wide = Sub(digits, one)
trits = Cast<to = 3>(trits_wide)
by_row = Transpose<perm = [0, 2, 1, 3]>(trits)
up_matrix_shape = Concat<axis = 0>(up_minus, padded)
whole_tiles = Reshape(by_row, up_matrix_shape)
"""
    + CUT
)
"""A byte is a number of base 3: digit i is what its unit divides, less 3 of the next unit."""

P2B_WHOLE = (
    """
up_zero = Constant<value_ints = [0]>()
up_one = Constant<value_ints = [1]>()
up_two = Constant<value_ints = [2]>()
up_three = Constant<value_ints = [3]>()
up_twelve = Constant<value_ints = [12]>()
up_sixteen = Constant<value_ints = [16]>()
up_up = Constant<value_ints = [23]>()
up_block = Constant<value_ints = [24]>()
up_minus = Constant<value_ints = [-1]>()
columns_scalar = Constant<value_int: int = @k>()
columns = Reshape(columns_scalar, up_minus)
columns_up = Add(columns, up_up)
blocks = Div(columns_up, up_block)
twelves = Mul(blocks, up_two)
padded = Mul(twelves, up_twelve)
tile_shape = Concat<axis = 0>(up_minus, twelves, up_three, up_sixteen)
tiles = Reshape(weight, tile_shape)
byte_0, byte_1, byte_2 = Split<axis = 2, num_outputs = 3>(tiles)
five_bits = Constant<value = uint8 {31}>()
by_3 = Constant<value = uint8 {3}>()
by_5 = Constant<value = uint8 {5}>()
by_6 = Constant<value = uint8 {6}>()
index_0 = BitwiseAnd(byte_0, five_bits)
index_1 = BitwiseAnd(byte_1, five_bits)
upper_bits = BitShift<direction = "RIGHT">(byte_1, by_6)
upper = BitShift<direction = "LEFT">(upper_bits, by_3)
lower = BitShift<direction = "RIGHT">(byte_0, by_5)
index_3 = BitwiseOr(upper, lower)
indices = Concat<axis = 2>(index_0, index_1, byte_2, index_3)
wide = Cast<to = 6>(indices)
index = Unsqueeze(wide, up_minus)
units = Constant<value = int32[3] {1, 3, 9}>()
uppers = Constant<value = int32[3] {3, 9, 27}>()
three = Constant<value = int32 {3}>()
one = Constant<value = int32 {1}>()
zero = Constant<value = int32 {0}>()
behind_last = Constant<value = int32 {27}>()
from_digit = Div(index, units)
behind_digit = Div(index, uppers)
behind_wide = Mul(behind_digit, three)
digits = Sub(from_digit, behind_wide)
trits_of_all = Sub(digits, one)
is_sound = Less(index, behind_last)
trits_wide = Where(is_sound, trits_of_all, zero)
trits = Cast<to = 3>(trits_wide)
by_row = Transpose<perm = [0, 3, 1, 2, 4]>(trits)
up_matrix_shape = Concat<axis = 0>(up_minus, padded)
whole_tiles = Reshape(by_row, up_matrix_shape)
"""
    + CUT
)
"""Four indices to three bytes; an index is a number of base 3, above 26 three zeros."""

T5X3_WHOLE = (
    """
up_zero = Constant<value_ints = [0]>()
up_one = Constant<value_ints = [1]>()
up_four = Constant<value_ints = [4]>()
up_five = Constant<value_ints = [5]>()
up_eight = Constant<value_ints = [8]>()
up_sixteen = Constant<value_ints = [16]>()
up_up = Constant<value_ints = [31]>()
up_tile = Constant<value_ints = [32]>()
up_minus = Constant<value_ints = [-1]>()
columns_scalar = Constant<value_int: int = @k>()
columns = Reshape(columns_scalar, up_minus)
columns_up = Add(columns, up_up)
column_tiles = Div(columns_up, up_tile)
padded = Mul(column_tiles, up_tile)
tile_shape = Concat<axis = 0>(up_minus, column_tiles, up_five, up_sixteen)
tiles = Reshape(weight, tile_shape)
by_1 = Constant<value = uint8 {1}>()
by_3 = Constant<value = uint8 {3}>()
three_bits = Constant<value = uint8 {7}>()
two_bits = Constant<value = uint8 {6}>()
one_bit = Constant<value = uint8 {1}>()
by_2 = Constant<value = uint8 {2}>()
by_4 = Constant<value = uint8 {4}>()
upper = BitShift<direction = "RIGHT">(tiles, by_3)
lower = BitwiseAnd(tiles, three_bits)
low_0, low_1, low_2, low_3, low_4 = Split<axis = 2, num_outputs = 5>(lower)
two_1 = BitwiseAnd(low_1, two_bits)
high_1 = BitShift<direction = "LEFT">(two_1, by_2)
code_5 = BitwiseOr(low_0, high_1)
two_3 = BitwiseAnd(low_3, two_bits)
high_3 = BitShift<direction = "LEFT">(two_3, by_2)
code_6 = BitwiseOr(low_2, high_3)
bit_1 = BitwiseAnd(low_1, one_bit)
bit_3 = BitwiseAnd(low_3, one_bit)
fourth = BitShift<direction = "LEFT">(bit_1, by_3)
fifth = BitShift<direction = "LEFT">(bit_3, by_4)
four_bits = BitwiseOr(low_4, fourth)
code_7 = BitwiseOr(four_bits, fifth)
codes = Concat<axis = 2>(upper, code_5, code_6, code_7)
code_shape = Concat<axis = 0>(up_minus, column_tiles, up_eight, up_four, up_four, up_one)
by_place = Reshape(codes, code_shape)
wide = Cast<to = 6>(by_place)
units = Constant<value = int32[3] {1, 3, 9}>()
uppers = Constant<value = int32[3] {3, 9, 32}>()
three = Constant<value = int32 {3}>()
one = Constant<value = int32 {1}>()
from_digit = Div(wide, units)
behind_digit = Div(wide, uppers)
behind_wide = Mul(behind_digit, three)
digits = Sub(from_digit, behind_wide)
trits_wide = Sub(digits, one)
trits = Cast<to = 3>(trits_wide)
by_row = Transpose<perm = [0, 5, 3, 1, 2, 4]>(trits)
up_matrix_shape = Concat<axis = 0>(up_minus, padded)
whole_tiles = Reshape(by_row, up_matrix_shape)
"""
    + CUT
)
"""A code is a number of base 3 of three rows; five are whole in a byte, three in lower bits."""


@dataclasses.dataclass(frozen=True)
class Storage:
    """One way in which an op's weights may be given: the end of its name, and how it is read."""

    suffix: str
    summary: str
    dtype: str
    whole: str
    """Ops that make `weights` int8 [n, k] of `weight`."""


LOGICAL = Storage(
    "", "Weights not laid out yet; no file ever holds them", "tensor(int8)",
    "weights = Identity(weight)",
)  # fmt: skip
STORAGES: Mapping[str, Storage] = {
    layout.suffix: Storage(
        layout.suffix, f"{layout.summary} (FORMAT.md, 3.3)", "tensor(uint8)", layout.whole()
    )
    for layout in LAYOUTS
} | {
    "P2B": Storage(
        "P2B", "Ternary weights in layout p2b: three columns to an index (FORMAT.md, 3.3)",
        "tensor(uint8)", P2B_WHOLE,
    ),
    "T5X3": Storage(
        "T5X3", "Ternary weights in layout t5x3: three rows to five bits (FORMAT.md, 3.3)",
        "tensor(uint8)", T5X3_WHOLE,
    ),
    "P16": Storage(
        "P16", "Ternary weights in layout p16: five columns to a byte (FORMAT.md, 3.3)",
        "tensor(uint8)", P16_WHOLE,
    ),
}  # fmt: skip
