"""append_cache: rows stored in the dtype of the state, or refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from bitexport_ref.errors import BadOperand, NotFinite
from bitexport_ref.ops.append_cache import append_cache, appended_rows


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_are_stored_after_those_before(dtype):
    rng = np.random.default_rng(0)
    past = rng.standard_normal((2, 3, 4, 5)).astype(dtype)
    x = rng.standard_normal((2, 6, 15)).astype(np.float32)
    present = append_cache(past, x, heads=3)
    assert present.dtype == dtype
    np.testing.assert_array_equal(present[:, :, :4], past)
    for b, t, head, i in np.ndindex(2, 6, 3, 5):
        value = float(x[b, t, head * 5 + i])
        if dtype == np.float16:
            value = struct.unpack("<e", struct.pack("<e", value))[0]
        assert present[b, head, 4 + t, i] == value


def test_the_traced_rows_are_the_rows_as_stored():
    x = np.random.default_rng(0).standard_normal((2, 6, 15)).astype(np.float32)
    present = append_cache(np.zeros((2, 3, 4, 5), np.float16), x, heads=3)
    rows = appended_rows(present, 6)
    assert rows.dtype == np.float16
    np.testing.assert_array_equal(rows, x.reshape(12, 15).astype(np.float16))


@pytest.mark.parametrize(
    ("dtype", "bad"), [(np.float16, 65520.0), (np.float16, np.nan), (np.float32, np.inf)]
)
def test_what_the_state_cannot_hold_is_refused(dtype, bad):
    with pytest.raises(NotFinite):
        append_cache(np.zeros((1, 1, 0, 1), dtype), np.full((1, 1, 1), bad, np.float32), heads=1)


def test_rows_that_do_not_fit_the_state_are_refused():
    with pytest.raises(BadOperand, match="6 columns do not fit a state of 1 heads of 5"):
        append_cache(np.zeros((1, 1, 0, 5), np.float16), np.zeros((1, 1, 6), np.float32), heads=1)
