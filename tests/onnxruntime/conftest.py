"""Graphs to run with the library of custom ops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest

from bitexport.emit.bitx import PROVENANCE, BitxWriter
from bitexport.emit.onnx_graph import write_onnx
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.stored import stored_matrices
from bitexport.passes.pipeline import lower


@pytest.fixture
def written(tmp_path: Path) -> Callable[[ir.Model, str], Path]:
    """Return a function that writes a network, its trits in a layout, and gives its model.onnx."""

    def write(model: ir.Model, layout: str = "p2r") -> Path:
        plan = lower(model, layout)
        writer = BitxWriter(tmp_path / "model.bitx", 8)
        facts = Facts(name="network", family="test")
        offsets = writer.add_model(plan, stored_matrices(model), facts)
        writer.add(PROVENANCE, b"{}")
        writer.finish()
        write_onnx(model, tmp_path / "model.onnx", "model.bitx", offsets, {})
        return tmp_path / "model.onnx"

    return write
