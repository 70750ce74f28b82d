"""Graphs of checkpoints, and refusals of them, for every test of models."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from bitexport.checkpoints.checkpoint import open_checkpoint
from bitexport.errors import CheckpointError
from bitexport.models import build_model
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.options import Options
from bitexport.models.parts.stored import stored_matrices


def build(path: Path, **options: Any) -> tuple[ir.Model, Facts]:
    """Build the graph of a checkpoint."""
    return build_model(open_checkpoint(path, options.get("container")), Options(**options))


def ops(path: Path, **options: Any) -> collections.Counter[str]:
    """Return how often each op is in the graph."""
    return collections.Counter(node.op_type for node in build(path, **options)[0].graph)


def contents(path: Path, **options: Any) -> dict[str, bytes]:
    """Return the bytes of every initializer."""
    stored = stored_matrices(build(path, **options)[0])
    return {name: b"".join(matrix.chunks()) for name, matrix in stored.items()}


def numbers(path: Path, name: str, **options: Any) -> NDArray[np.float32]:
    """Return what an initializer holds, as float32."""
    matrix = stored_matrices(build(path, **options)[0])[name].matrix
    return matrix.floats(0, matrix.rows)


def refused(path: Path, *names: str, **options: Any) -> str:
    """Check that the checkpoint is refused, naming these, with a hint, with exit code 3.

    Bytes are asked for too: what lies in a tensor is looked at where it is read.
    """

    def read_everything() -> None:
        for stored in stored_matrices(build(path, **options)[0]).values():
            collections.deque(stored.chunks(), maxlen=0)

    with pytest.raises(CheckpointError) as refusal:
        read_everything()
    assert refusal.value.exit_code == 3
    for name in names:
        assert name in str(refusal.value)
    assert refusal.value.hint
    return f"{refusal.value} | {refusal.value.hint}"
