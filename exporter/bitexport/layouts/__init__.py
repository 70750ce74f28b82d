"""Weight layouts: how a matrix of trits becomes bytes.  Only `pack` lives here.

Unpacking belongs to the readers (`bitexport_ref`, the C kernels), each with its own; all three
cite targets/FORMAT.md, section 3.3.  `Layout` says what a module here offers.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray


class Layout(Protocol):
    """What a layout module offers."""

    LAYOUT_ID: int
    SUFFIX: str
    ROW_TILE: int
    BITS_PER_WEIGHT: float
    packed_bytes: Callable[[int, int], int]
    pack: Callable[[NDArray[np.int8]], NDArray[np.uint8]]


def load_layout(name: str) -> Layout:
    """Return the layout module of that name; the target file names it, so a typo is ours."""
    return cast(Layout, importlib.import_module(f"{__name__}.{name}"))
