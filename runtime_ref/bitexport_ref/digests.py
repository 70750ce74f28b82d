"""Digests of a trace: SHA-256 of every row, chained over positions (NUMERICS.md, section 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

START = bytes(32)
"""A chain before the first position."""

PRINTED_BYTES = 16


def row_digest(row: NDArray[Any]) -> bytes:
    """Return the 32-byte digest of one row: (columns), its elements little-endian."""
    little = np.ascontiguousarray(row, row.dtype.newbyteorder("<"))
    return hashlib.sha256(little.data).digest()


def row_digests(rows: NDArray[Any]) -> list[bytes]:
    """Return the digest of each row: (rows, columns)."""
    return [row_digest(row) for row in rows]


def extend(chain: bytes, rows: NDArray[Any]) -> bytes:
    """Return a chain continued over rows: (rows, columns)."""
    for digest in row_digests(rows):
        chain = hashlib.sha256(chain + digest).digest()
    return chain


def extend_all(
    chains: Sequence[bytes], trace: Sequence[tuple[str, str, NDArray[Any]]]
) -> list[bytes]:
    """Return the chains of all op outputs continued over a traced run; empty chains start."""
    before = chains or [START] * len(trace)
    return [extend(chain, rows) for chain, (_, _, rows) in zip(before, trace, strict=True)]


def printed(digest: bytes) -> bytes:
    """Return the part of a digest or chain that is stored and printed: its first 16 bytes."""
    return digest[:PRINTED_BYTES]
