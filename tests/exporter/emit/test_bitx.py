"""model.bitx: a reader that knows only FORMAT.md accepts it and finds the checkpoint in it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from tests.tiny_checkpoint import PROMPT, Checkpoint, Shape, read_safetensors, write_checkpoint
from tokenizers import Tokenizer

from bitexport import __version__
from bitexport.checkpoints.checkpoint import open_checkpoint
from bitexport.emit.bitx import BitxWriter
from bitexport.emit.manifest import Bundle
from bitexport.models import build_model
from bitexport.models.parts.options import Options
from bitexport.models.parts.stored import stored_matrices
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.passes.pipeline import lower
from bitexport.targets import find_target
from bitexport_ref.bitx import (
    Bitx,
    BitxError,
    check_hashes,
    open_bitx,
    plan_trace_names,
    provenance,
    self_test,
    tensor_bytes,
)
from bitexport_ref.bitx_records import Dtype, Layout, Role
from bitexport_ref.digests import printed
from bitexport_ref.evaluator import load
from bitexport_ref.layouts import LAYOUTS, unpack
from bitexport_ref.self_test import compute

# SHA-256 of sections 1 to 8 of the tiny model with one layer, padding included.
KNOWN_DIGEST = "617f99d6feaf9525456bc4e50e79a28b2ba40c2011064693c12f695331c7abc6"


@pytest.fixture(params=["tiny", "ragged"])
def name(request: pytest.FixtureRequest) -> str:
    """Return which checkpoint."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def checkpoint(name: str, tiny: Checkpoint, ragged: Checkpoint) -> Checkpoint:
    """Return the checkpoint."""
    return {"tiny": tiny, "ragged": ragged}[name]


@pytest.fixture
def bundle(name: str, bundles: dict[str, Bundle]) -> Bundle:
    """Return its bundle."""
    return bundles[name]


@pytest.fixture
def bitx(bundle: Bundle) -> Bitx:
    """Return its .bitx file, opened: R1 to R23 hold."""
    return open_bitx(bundle.data)


def test_every_section_has_its_hash(bitx: Bitx) -> None:
    check_hashes(bitx)


def test_facts_are_those_of_the_checkpoint(bitx: Bitx, checkpoint: Checkpoint) -> None:
    facts, shape = bitx.facts, checkpoint.shape
    assert (facts.is_language_model, facts.name, facts.family) == (True, "tiny", "bitnet")
    assert (facts.vocabulary, facts.context) == (shape.vocabulary, shape.context)
    assert (facts.hidden, facts.layers) == (shape.hidden, shape.layers)
    assert (facts.heads, facts.kv_heads, facts.head_size) == (4, 2, shape.head_size)
    assert (facts.bos, facts.eos) == (1, (2,))
    assert facts.token_value is not None
    assert facts.logits_value is not None
    assert bitx.values[facts.token_value].name == "input_ids"
    assert bitx.values[facts.logits_value].name == "logits"


def test_ternary_tensors_are_the_trits(bitx: Bitx, checkpoint: Checkpoint) -> None:
    tensors = {tensor.name: tensor for tensor in bitx.tensors}
    for name, trits in checkpoint.trits.items():
        tensor = tensors[f"{name}.weight"]
        n, k = trits.shape
        assert (tensor.dtype, tensor.layout, tensor.shape) == (Dtype.U8, Layout.P2R, (n, k))
        packed = np.frombuffer(tensor_bytes(bitx, tensor), np.uint8)
        np.testing.assert_array_equal(unpack(packed, LAYOUTS["p2r"], n=n, k=k), trits)


def test_float_tensors_are_the_checkpoint_s_bits(bitx: Bitx, checkpoint: Checkpoint) -> None:
    tensors = {tensor.name: tensor for tensor in bitx.tensors}
    for name, floats in checkpoint.floats.items():
        data = bytes(tensor_bytes(bitx, tensors[name]))
        if tensors[name].dtype is Dtype.BF16:
            raw = read_safetensors(checkpoint.path / "model.safetensors")[name]
            assert (raw.dtype, raw.data) == ("BF16", data)
        else:
            assert (tensors[name].dtype, data) == (Dtype.F32, floats.tobytes())


def test_values_of_the_caller_are_the_graph_s(bitx: Bitx, checkpoint: Checkpoint) -> None:
    states = [value.name for value in bitx.values if value.role is Role.STATE]
    assert states == [
        f"past_key_values.{layer}.{part}"
        for layer in range(checkpoint.shape.layers)
        for part in ("key", "value")
    ]
    assert [value.name for value in bitx.values if value.role is Role.OUTPUT] == ["logits"]


def test_the_self_test_is_what_the_reference_computes(
    bitx: Bitx, bundle: Bundle, checkpoint: Checkpoint
) -> None:
    tokenizer = Tokenizer.from_file(str(checkpoint.path / "tokenizer.json"))
    prompt = tokenizer.encode(PROMPT).ids
    expected = compute(load(bundle.graph), prompt, 16)
    found = self_test(bitx)
    assert found is not None
    assert (found.prompt, found.generated) == (expected.prompt, expected.generated)
    assert found.logits_chain == printed(expected.logits_chain)
    assert found.chains == tuple(map(printed, expected.chains))


def test_the_plan_s_outputs_are_those_of_the_graph_in_order(bitx: Bitx, bundle: Bundle) -> None:
    """A state has one name in the plan and two in the graph."""
    graph = [name for name, _ in load(bundle.graph).plan]
    plan = [name.replace("past_key_values.", "present.") for name in plan_trace_names(bitx)]
    assert plan == graph


def test_provenance_names_tool_and_checkpoint(bitx: Bitx, checkpoint: Checkpoint) -> None:
    assert provenance(bitx) == {
        "tool": "bitexport", "version": __version__, "family": "bitnet", "name": "tiny",
        "checkpoint": {
            file: hashlib.sha256((checkpoint.path / file).read_bytes()).hexdigest()
            for file in ("config.json", "model.safetensors")
        },
    }  # fmt: skip


def test_the_bytes_are_the_ones_we_know(tmp_path: Path) -> None:
    """A changed digest is a changed format, plan or layout: if it is meant, replace it."""
    checkpoint = write_checkpoint(tmp_path / "model", Shape(layers=1))
    bundle = build_bundle(
        checkpoint.path,
        find_target("arm64"),
        Options(),
        tmp_path / "out",
        Wanted(compile_library=False),
    )
    bitx = open_bitx(bundle.data)
    first, data = bitx.sections[0], bitx.section(8)
    assert data is not None
    assert hashlib.sha256(bitx.blob[first.offset : data.end]).hexdigest() == KNOWN_DIGEST


def test_a_file_that_is_half_written_is_no_bitx_file(tiny: Checkpoint, tmp_path: Path) -> None:
    model, facts = build_model(open_checkpoint(tiny.path), Options())
    plan = lower(model, "p2r")
    path = tmp_path / "model.bitx"
    writer = BitxWriter(path, 8)
    for step in ("begin", "model", "provenance"):
        if step == "model":
            writer.add_model(plan, stored_matrices(model), facts)
        elif step == "provenance":
            writer.add(13, json.dumps({}).encode())
        with pytest.raises(BitxError, match=r"R1 \(BITX_E_MAGIC\)"):
            open_bitx(path)
    writer.finish()
    check_hashes(open_bitx(path))


def test_progress_ends_with_every_byte_written(tiny: Checkpoint, tmp_path: Path) -> None:
    model, facts = build_model(open_checkpoint(tiny.path), Options())
    plan = lower(model, "p2r")
    seen: list[tuple[int, int]] = []
    writer = BitxWriter(tmp_path / "model.bitx", 7)
    tensors = stored_matrices(model)
    writer.add_model(plan, tensors, facts, lambda done, total: seen.append((done, total)))
    total = sum(stored.nbytes for stored in tensors.values())
    assert {each_total for _, each_total in seen} == {total}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == total
