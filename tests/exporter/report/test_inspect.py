"""inspect: what it counts is what is there."""

from __future__ import annotations

import collections
import json
import shutil
from pathlib import Path

import onnx
import pytest
from tests.tiny_checkpoint import Checkpoint

from bitexport.emit.manifest import Bundle
from bitexport.errors import BundleError
from bitexport.report.inspect import inspect, render
from bitexport_ref.bitx import open_bitx


def test_a_checkpoint_s_weights_are_counted(each: Checkpoint) -> None:
    facts = inspect(each.path)
    assert facts["ternary_weights"] == sum(trits.size for trits in each.trits.values())
    assert facts["other_weights"] == sum(floats.size for floats in each.floats.values())
    assert facts["model_type"] == "bitnet"
    assert facts["config"]["hidden_size"] == each.shape.hidden
    assert len(facts["tensors"]) == len(each.trits) + len(each.floats)
    assert facts["tensors"] == inspect(each.path / "model.safetensors")["tensors"]


def test_a_bitx_file_is_shown_layer_by_layer(bundles: dict[str, Bundle], tiny: Checkpoint) -> None:
    facts = inspect(bundles["tiny"].data)
    layers = {layer["name"]: layer for layer in facts["layers"]}
    for name, trits in tiny.trits.items():
        assert layers[f"{name}.weight"] == {
            "name": f"{name}.weight", "shape": list(trits.shape), "dtype": "u8", "layout": "p2r",
            "bytes": trits.size // 4, "bits_per_weight": 2.0,
        }  # fmt: skip
    assert layers["model.embed_tokens.weight"]["bits_per_weight"] == 16.0
    assert sum(facts["ops"].values()) == 67
    assert facts["fused"] == 8 + 14 + 2
    assert facts["facts"]["name"] == "tiny"
    assert len(facts["self_test"]["generated"]) == 16


def test_padding_of_a_ragged_matrix_is_counted(bundles: dict[str, Bundle]) -> None:
    layers = {layer["name"]: layer for layer in inspect(bundles["ragged"].data)["layers"]}
    layer = layers["model.layers.0.self_attn.k_proj.weight"]
    assert layer["shape"] == [20, 40]
    assert layer["bytes"] == 32 * 48 // 4
    assert layer["bits_per_weight"] == round(8 * layer["bytes"] / (20 * 40), 3)


def test_a_graph_is_counted(bundles: dict[str, Bundle]) -> None:
    path = bundles["tiny"].graph
    facts = inspect(path)
    graph = onnx.load(path, load_external_data=False).graph
    assert facts["ops"] == collections.Counter(node.op_type for node in graph.node)
    assert facts["inputs"][0] == "input_ids: INT64[batch, sequence]"
    assert facts["outputs"][0] == "logits: FLOAT[batch, sequence, 96]"
    assert {e["location"] for e in facts["external_data"]} == {"model.bitx"}
    assert facts["opsets"] == {"ai.onnx": 21, "ai.bitexport": 1}


def test_a_bundle_is_its_manifest_its_files_and_its_sections(bundles: dict[str, Bundle]) -> None:
    bundle = bundles["tiny"]
    facts = inspect(bundle.path)
    for name, size in facts["files"].items():
        assert size == (bundle.path / name).stat().st_size
    assert facts["files"].keys() == bundle.manifest["files"].keys()
    sections = [section.id for section in open_bitx(bundle.data).sections]
    assert [section["id"] for section in facts["sections"]] == sections


@pytest.mark.parametrize("fault", ["flipped", "cut", "missing"])
def test_a_bundle_with_damaged_weights_is_refused(
    fault: str, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundles["tiny"].path, tmp_path / "bundle"))
    data = bytearray((folder / "model.bitx").read_bytes())
    if fault == "missing":
        (folder / "model.bitx").unlink()
    elif fault == "cut":
        (folder / "model.bitx").write_bytes(data[:-1])
    else:
        data[len(data) // 2] ^= 1
        (folder / "model.bitx").write_bytes(data)
    for path in (folder, folder / "model.bitx"):
        if path.exists():
            with pytest.raises(BundleError, match=r"model\.bitx: ") as refusal:
                inspect(path)
            assert refusal.value.hint


def test_facts_are_plain_data(each: Checkpoint, bundles: dict[str, Bundle]) -> None:
    bundle = bundles["ragged"]
    for path in (each.path, bundle.path, bundle.graph, bundle.data):
        facts = inspect(path)
        assert json.loads(json.dumps(facts)).keys() == facts.keys()
        assert render(facts) == render(inspect(path))


def test_records_are_rendered_as_columns() -> None:
    text = render({"kind": "x", "rows": [{"name": "a", "n": 1}, {"name": "long", "n": 22}],
                   "list": [1, "b"], "table": {"k": None}, "empty": []})  # fmt: skip
    assert text.splitlines() == [
        "kind: x", "rows:", "  name  n", "  a     1", "  long  22", "list:", "  1", "  b",
        "table:", "  k: null", "empty:",
    ]  # fmt: skip
