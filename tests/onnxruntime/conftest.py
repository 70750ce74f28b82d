"""The library of custom ops, built once for this machine, and graphs to run with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest

from bitexport.emit.bitx import PROVENANCE, BitxWriter
from bitexport.emit.onnx_graph import write_onnx
from bitexport.emit.source import copy_runtime
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.stored import stored_matrices
from bitexport.passes.pipeline import lower
from bitexport.targets import Target
from bitexport.toolchain.compile import Library, sources
from bitexport.toolchain.onnxruntime import OPS_LIBRARY, build_ops_library, this_machine


@pytest.fixture(scope="session")
def custom_ops(libraries: Callable[[Target], Library]) -> Path:
    """Return libbitexport_ort.so for this machine."""
    target = this_machine()
    runtime = libraries(target).archive.parents[2]
    copy_runtime([source.path for source in sources(target)], runtime)
    return build_ops_library(target, runtime, runtime / OPS_LIBRARY)


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
