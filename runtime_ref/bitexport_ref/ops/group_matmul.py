"""GroupMatMul: weights whose scales are shared by groups of columns (NUMERICS.md, GroupMatMul)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitexport_ref.errors import BadOperand
from bitexport_ref.layouts import B1R, P2R, Q4R
from bitexport_ref.numerics import F16, F32, S8, group_count
from bitexport_ref.products import Integers
from bitexport_ref.products import group_matmul as scaled_group_sums

LAYOUTS = (P2R, B1R, Q4R)


def group_matmul(
    q: S8, weight: Integers, weight_scale: F32 | F16, scale: F32, *, group: int
) -> F32:
    """Sum scaled products, group after group: (..., k), (n, k) -> (..., n).

    weight_scale is (groups or 1, n or 1), scale (..., groups or 1).
    """
    return _scaled((q,), weight, weight_scale, scale, group)


def group_matmul_int16(
    high: S8, weight: Integers, weight_scale: F32 | F16, scale: F32, low: S8, *, group: int
) -> F32:
    """Do the same for codes 256 * high + low."""
    return _scaled((high, low), weight, weight_scale, scale, group)


def _scaled(
    q: Sequence[S8], weight: Integers, weight_scale: F32 | F16, scale: F32, group: int
) -> F32:
    """Check how scales fit and multiply rows of any leading axes."""
    (n, k), shape = weight.shape, q[0].shape
    groups = group_count(k, group)
    widened = np.asarray(weight_scale).astype(np.float32)
    fits = (
        widened.ndim == 2  # noqa: PLR2004 - groups and rows
        and widened.shape[0] in (1, groups)
        and widened.shape[1] in (1, n)
        and scale.shape[-1] in (1, groups)
        and all(each.shape == shape and scale.shape[:-1] == shape[:-1] for each in q)
    )
    if not fits:
        message = (
            f"codes {shape}, scale {scale.shape} and weight scale {widened.shape} do not fit "
            f"a weight of {n} by {k} in groups of {group}"
        )
        raise BadOperand(message)
    y = scaled_group_sums(
        [each.reshape(-1, shape[-1]) for each in q],
        weight,
        widened,
        scale.reshape(-1, scale.shape[-1]),
        group=group,
    )
    return y.reshape(*shape[:-1], n)
