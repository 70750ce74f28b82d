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

    def body(self, packed: str, matrix: str) -> str:
        """Return the ops that make int8 `matrix` [whole tiles of rows, padded columns] of bytes.

        They read attribute `k` and also leave `columns` (k) and `padded`, both int64 [1].
        """
        shifts = ", ".join(str(8 // self.fields * field) for field in range(self.fields))
        bias = ", ".join(map(str, self.bias))
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
        tile_shape = Concat<axis = 0>(up_minus, steps, up_four, up_four, up_one)
        tiles = Reshape({packed}, tile_shape)
        sign = Constant<value = uint8 {{{self.sign}}}>()
        flipped = BitwiseXor(tiles, sign)
        shifts = Constant<value = uint8[{self.fields}] {{{shifts}}}>()
        mask = Constant<value = uint8 {{{self.mask}}}>()
        shifted = BitShift<direction = "RIGHT">(flipped, shifts)
        fields = BitwiseAnd(shifted, mask)
        codes = Cast<to = 6>(fields)
        factor = Constant<value = int32 {{{self.factor}}}>()
        bias = Constant<value = int32[{self.fields}] {{{bias}}}>()
        scaled_codes = Mul(codes, factor)
        values_wide = Sub(scaled_codes, bias)
        values = Cast<to = 3>(values_wide)
        by_row = Transpose<perm = [0, 4, 2, 1, 3]>(values)
        up_matrix_shape = Concat<axis = 0>(up_minus, padded)
        {matrix} = Reshape(by_row, up_matrix_shape)
        """

    def whole(self) -> str:
        """Return the ops that make `weights` int8 [n, k] of the bytes `weight`."""
        return f"""
        {self.body("weight", "whole_tiles")}
        up_zero = Constant<value_ints = [0]>()
        rows_scalar = Constant<value_int: int = @n>()
        rows = Reshape(rows_scalar, up_minus)
        up_starts = Concat<axis = 0>(up_zero, up_zero)
        up_ends = Concat<axis = 0>(rows, columns)
        up_axes = Concat<axis = 0>(up_zero, up_one)
        weights = Slice(whole_tiles, up_starts, up_ends, up_axes)
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
}
