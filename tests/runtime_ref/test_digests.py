"""digests: SHA-256 of rows, chained over positions."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest

from bitexport_ref import digests


@pytest.mark.parametrize(
    ("dtype", "code"), [("f4", "f"), ("f2", "e"), ("i1", "b"), ("i4", "i"), (">f4", "f")]
)
def test_a_row_is_digested_as_its_little_endian_bytes(dtype, code):
    row = np.array([1, -2, 3], dtype)
    expected = hashlib.sha256(struct.pack(f"<3{code}", 1, -2, 3)).digest()
    assert digests.row_digest(row) == expected


def test_rows_that_are_not_contiguous_are_digested_alike():
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert digests.row_digests(rows.T) == digests.row_digests(rows.T.copy())


def test_a_chain_is_the_digest_of_chain_and_row():
    rows = np.arange(6, dtype=np.int32).reshape(3, 2)
    chain = bytes(32)
    for row in rows:
        chain = hashlib.sha256(chain + hashlib.sha256(row.tobytes()).digest()).digest()
    assert digests.extend(digests.START, rows) == chain
    assert digests.printed(chain) == chain[:16]


def test_chains_do_not_depend_on_chunking():
    rows = np.arange(20, dtype=np.float32).reshape(10, 2)
    whole = digests.extend_all([], [("a", "Add", rows), ("b", "Add", rows + 1)])
    parts: list[bytes] = []
    for start, stop in ((0, 3), (3, 4), (4, 10)):
        part = rows[start:stop]
        parts = digests.extend_all(parts, [("a", "Add", part), ("b", "Add", part + 1)])
    assert parts == whole
