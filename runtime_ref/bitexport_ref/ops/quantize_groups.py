"""QuantizeGroups: int8 codes and one scale for each group of a row (NUMERICS.md)."""

from __future__ import annotations

import numpy as np

from bitexport_ref.numerics import F32, S8, group_count
from bitexport_ref.ops.quantize_rows import quantize_rows


def quantize_groups(x: F32, *, group: int) -> tuple[S8, F32]:
    """Quantize each group of columns by itself: (..., columns) -> x's, (..., groups)."""
    columns = x.shape[-1]
    groups = group_count(columns, group)
    parts = [quantize_rows(x[..., g * group : (g + 1) * group]) for g in range(groups)]
    codes = np.concatenate([part for part, _ in parts], axis=-1)
    return codes, np.concatenate([scale for _, scale in parts], axis=-1)
