"""GroupEmbed: packed rows of a table, scaled by groups of columns (NUMERICS.md, GroupEmbed)."""

from __future__ import annotations

import numpy as np

from bitexport_ref.errors import BadOperand
from bitexport_ref.layouts import B1R, P2R, Q4R, PackedMatrix
from bitexport_ref.numerics import F32, group_count
from bitexport_ref.ops.embed import Ids, picked_rows
from bitexport_ref.stored import Rows

LAYOUTS = (P2R, B1R, Q4R)


def group_embed(
    ids: Ids, table: PackedMatrix, table_scale: Rows[np.float32] | Rows[np.float16], *, group: int
) -> F32:
    """Return float(table[id]) * its scale: (...), (vocab, columns) -> (..., columns).

    table_scale is (groups or 1, vocab or 1).
    """
    vocab, columns = table.shape
    groups = group_count(columns, group)
    if table_scale.shape[0] not in (1, groups) or table_scale.shape[1] not in (1, vocab):
        message = (
            f"a table scale {table_scale.shape} does not fit a table of {vocab} by {columns} "
            f"in groups of {group}"
        )
        raise BadOperand(message)
    codes = picked_rows(ids, table).astype(np.float32)
    scales = np.empty((*ids.shape, groups), np.float32)
    for g in range(groups):
        row = table_scale[g : g + 1] if table_scale.shape[0] > 1 else table_scale[:1]
        scales[..., g] = row[0, ids if table_scale.shape[1] > 1 else 0]
    y: F32 = codes * np.repeat(scales, group, axis=-1)[..., :columns]
    return y
