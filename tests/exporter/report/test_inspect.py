"""inspect: what it counts is what is there."""

from __future__ import annotations

import collections
import json
import shutil
from pathlib import Path

import onnx
import pytest
from tests.gguf_bytes import Raw, write_model
from tests.tiny_checkpoint import Checkpoint, edit_config
from tests.tiny_families import USUAL, Way, tiny_model, write_family, write_tiny

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
    assert [section["name"] for section in facts["sections"]] == [
        "facts", "strings", "tensors", "values", "ops", "operands", "data", "tokenizer",
        "self-test", "provenance", "arithmetic",
    ]  # fmt: skip
    assert facts["options"] == {"cache": "f16"}
    assert "options:\n  cache: f16\n" in render(facts)


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


# ---- checkpoints: container, family, types ---------------------------------------------------


@pytest.mark.parametrize("family", USUAL)
def test_a_checkpoint_says_its_container_and_family(family: str, tmp_path: Path) -> None:
    facts = inspect(write_family(tmp_path, family))
    assert (facts["container"], facts["family"]) == ("safetensors", family)
    assert facts["activations"].startswith("int16: " if family == "qwen3" else "int8: ")
    assert "not supported" not in facts


@pytest.mark.parametrize(
    ("family", "way", "words"),
    [
        ("llama", "divided", "packed trits, the scale divides"),
        ("bitnet", "multiplied", "packed trits, the scale multiplies"),
        ("bitnet_llama", "masters", "float masters, made trits by absmean"),
        ("llama", "unpacked", "floats that are {-s, 0, s} already"),
    ],
)
def test_how_a_checkpoint_is_read_is_said_in_words(
    family: str, way: Way, words: str, tmp_path: Path
) -> None:
    facts = inspect(write_tiny(tmp_path, tiny_model(family), way))
    assert facts["read as"] == words


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model_type": "gpt2"}, "model_type `gpt2` is not supported"),
        ({"hidden_act": "gelu"}, "`hidden_act` is `gelu`"),
        ({"logit_scale": 0.5}, "`logit_scale` is `0.5`"),
    ],
)
def test_a_checkpoint_that_cannot_be_built_is_shown_with_the_reason(
    changes: dict[str, object], why: str, tmp_path: Path
) -> None:
    path = write_family(tmp_path, "llama")
    edit_config(path, **changes)
    facts = inspect(path)
    assert why in facts["not supported"]
    assert "family" not in facts
    assert f"not supported: {facts['not supported']}\n" in render(facts)
    assert len(facts["tensors"]) > 20


def gguf_with(architecture: str, path: Path) -> Path:
    """Write a GGUF file with one ternary matrix, all zeros."""
    trits = Raw(35, (256, 256), b"".join(b"\x55" * 64 + b"\x00\x3c" for _ in range(256)))
    return write_model(path, architecture, {"blk.0.attn_q.weight": trits})


def test_a_gguf_file_shows_the_type_of_every_tensor(tmp_path: Path) -> None:
    path = gguf_with("llama", tmp_path / "model.gguf")
    facts = inspect(path)
    assert (facts["kind"], facts["container"]) == ("checkpoint", "gguf")
    assert facts["types"] == {"F32": 1, "TQ2_0": 1}
    assert (facts["ternary_weights"], facts["other_weights"]) == (256 * 256, 24 * 256)
    assert facts["tensors"] == [
        {"name": "model.embed_tokens.weight", "dtype": "F32", "shape": [24, 256],
         "file": "model.gguf", "stored_as": "token_embd.weight"},
        {"name": "model.layers.0.self_attn.q_proj.weight", "dtype": "TQ2_0", "shape": [256, 256],
         "file": "model.gguf", "stored_as": "blk.0.attn_q.weight"},
    ]  # fmt: skip
    assert "input_layernorm.weight` is missing" in facts["not supported"]
    other = shutil.copy(path, tmp_path / "weights")
    assert inspect(other)["tensors"][0]["file"] == "weights"


def test_a_gguf_file_of_another_architecture_is_shown_in_its_own_words(tmp_path: Path) -> None:
    facts = inspect(gguf_with("falcon", tmp_path / "model.gguf"))
    assert "`general.architecture` is `falcon`" in facts["not supported"]
    assert facts["metadata"]["falcon.block_count"] == 1
    assert [tensor["name"] for tensor in facts["tensors"]] == [
        "blk.0.attn_q.weight", "token_embd.weight",
    ]  # fmt: skip
    assert json.loads(json.dumps(facts)) == facts
    assert render(facts)
