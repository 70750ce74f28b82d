"""BitNet as transformers computes it, uncompiled: importing it warns, compiling takes long."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from transformers.integrations.bitnet import (
        AutoBitLinear,
        BitLinear,
        WeightQuant,
        pack_weights,
        unpack_weights,
    )

__all__ = ["AutoBitLinear", "BitLinear", "WeightQuant", "eager", "pack_weights", "unpack_weights"]


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """Run what transformers decorates with torch.compile as plain Python."""
    with torch.compiler.set_stance("force_eager"), torch.no_grad():
        yield
