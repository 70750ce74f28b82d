"""Families: how a checkpoint is recognised, and the graph that each family has."""

from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import pytest
import transformers
from tests.exporter.models.graphs import build, numbers, ops, refused
from tests.tiny_checkpoint import (
    edit_config,
    packed,
    replace_tensor,
    stored_floats,
)
from tests.tiny_families import USUAL, tiny_model, write_family, write_tiny

from bitexport.checkpoints.checkpoint import open_checkpoint
from bitexport.models import families, recognise

ACTIVATIONS = {"bitnet": "int8", "bitnet_llama": "int8", "llama": "int8", "qwen2": "int8",
               "qwen3": "int16"}  # fmt: skip
SILU = {"Silu": 1, "Mul": 1, "Relu": 0}
RELU2 = {"Silu": 0, "Mul": 2, "Relu": 1}


@pytest.mark.parametrize("family", USUAL)
def test_a_checkpoint_is_of_exactly_one_family(family: str, tmp_path: Path) -> None:
    path = write_family(tmp_path, family)
    checkpoint = open_checkpoint(path)
    fitting = [name for name, each in families().items() if not each.misfits(checkpoint)]
    assert fitting == [family]
    facts = build(path)[1]
    assert (facts.family, facts.container) == (family, "safetensors")
    assert facts.activations == ACTIVATIONS[family]
    assert facts.activations_because


@pytest.mark.parametrize("family", USUAL)
def test_each_layer_has_the_ops_of_its_family(family: str, tmp_path: Path) -> None:
    found = ops(write_family(tmp_path, family, layers=3))
    each = collections.Counter(RELU2 if family == "bitnet" else SILU)
    sub_norms = 2 if family in ("bitnet", "bitnet_llama") else 0
    each["RmsNorm"] = 2 + sub_norms + (2 if family == "qwen3" else 0)
    each["Add"] = 2 + (3 if family == "qwen2" else 0)
    each["Attend"] = 1
    for op, count in each.items():
        assert found[op] == 3 * count + (op == "RmsNorm"), op


def test_query_and_key_heads_are_normalised_each_by_itself(tmp_path: Path) -> None:
    graph = build(write_family(tmp_path, "qwen3"))[0].graph
    heads = {
        node.outputs[0].name: node.attributes["heads"].value
        for node in graph
        if node.op_type == "RmsNorm"
    }
    assert heads["model.layers.1.self_attn.q_norm.output"] == 4
    assert heads["model.layers.1.self_attn.k_norm.output"] == 2
    assert heads["model.layers.1.input_layernorm.output"] == 1


def test_the_size_of_a_head_is_that_of_the_config_not_of_the_hidden_size(tmp_path: Path) -> None:
    facts = build(write_family(tmp_path, "llama", head_size=32))[1]
    assert (facts.head_size, facts.heads, facts.hidden) == (32, 4, 64)


def test_a_qwen3_without_head_dim_has_heads_of_128(tmp_path: Path) -> None:
    path = write_family(tmp_path, "qwen3", head_size=128)
    edit_config(path, head_dim=None)
    assert build(path)[1].head_size == 128


@pytest.mark.parametrize("tied", [False, True])
def test_the_head_is_the_table_where_it_is_tied(tied: bool, tmp_path: Path) -> None:
    stored = build(write_family(tmp_path, "llama", tied=tied))[0].graph.initializers
    assert ("lm_head.weight" in stored) is not tied


def test_default_keys_are_those_of_each_family_s_own_config_class() -> None:
    classes = {"bitnet": transformers.BitNetConfig, "llama": transformers.LlamaConfig,
               "qwen2": transformers.Qwen2Config, "qwen3": transformers.Qwen3Config}  # fmt: skip
    for name, made in ((name, kind()) for name, kind in classes.items()):
        family = families()[name]
        assert family.rope_base == made.rope_parameters["rope_theta"], name
        assert family.epsilon == made.rms_norm_eps, name
        assert family.gates[made.hidden_act]
        if family.head_size:
            assert family.head_size == made.head_dim


# ---- what is not recognised ------------------------------------------------------------------


def test_a_missing_norm_is_named(tmp_path: Path) -> None:
    path = write_family(tmp_path, "qwen3")
    for layer in (0, 1):
        replace_tensor(path, f"model.layers.{layer}.self_attn.q_norm.weight", None)
    text = refused(path, "tensor `model.layers.0.self_attn.q_norm.weight` is missing")
    assert "`qwen3`" in text


def test_a_norm_that_no_family_has_is_named(tmp_path: Path) -> None:
    path = write_family(tmp_path, "llama")
    name = "model.layers.0.self_attn.post_norm.weight"
    replace_tensor(path, name, stored_floats(np.ones(64), "F32"))
    refused(path, "nothing in this family of models computes with", f"`{name}`")


def test_another_architecture_of_a_known_type_is_named(tmp_path: Path) -> None:
    path = write_family(tmp_path, "llama")
    edit_config(path, architectures=["LlamaForSequenceClassification"])
    refused(path, "config.json", "architectures `LlamaForSequenceClassification`")


def test_a_family_can_be_forced(tmp_path: Path) -> None:
    path = write_family(tmp_path, "llama")
    edit_config(path, model_type="falcon_e", architectures=["FalconE"])
    refused(path, "model_type `falcon_e` is not supported")
    assert build(path, family="llama")[1].family == "llama"


def test_a_forced_family_still_wants_its_tensors(tmp_path: Path) -> None:
    path = write_family(tmp_path, "llama")
    edit_config(path, hidden_act="relu2")
    for family, tensor in (
        ("bitnet", "mlp.ffn_sub_norm.weight"), ("qwen3", "self_attn.k_norm.weight"),
        ("qwen2", "self_attn.k_proj.bias"),
    ):  # fmt: skip
        text = refused(
            path, f"--family {family} does not fit {path}: tensor `model.layers.0.{tensor}` "
            "is missing", family=family,
        )  # fmt: skip
        assert "leave --family out: it is read as `llama`" in text


@pytest.mark.parametrize(
    ("family", "tensor"),
    [("qwen3", "self_attn.k_norm.weight"), ("qwen2", "self_attn.k_proj.bias")],
)
def test_a_forced_family_has_no_use_for_tensors_of_another(
    family: str, tensor: str, tmp_path: Path
) -> None:
    path = write_family(tmp_path, family)
    text = refused(
        path, f"--family llama does not fit {path}: nothing in this family of models computes "
        f"with `model.layers.0.{tensor}`", family="llama",
    )  # fmt: skip
    assert f"leave --family out: it is read as `{family}`" in text


def test_a_forced_family_that_does_not_fit_what_no_family_fits_has_another_hint(
    tmp_path: Path,
) -> None:
    path = write_family(tmp_path, "llama")
    edit_config(path, model_type="falcon_e")
    text = refused(path, "--family bitnet does not fit", family="bitnet")
    assert "leave --family out" not in text


def test_a_family_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    checkpoint = write_family(tmp_path, "llama")
    text = refused(checkpoint, "--family gpt2", family="gpt2")
    assert "bitnet, bitnet_llama, llama, qwen2, qwen3" in text


def test_almost_every_key_that_is_left_out_is_recognised_by_its_tensors(tmp_path: Path) -> None:
    """`architectures` is no promise: many files do not say it."""
    for family in USUAL:
        path = write_family(tmp_path / family, family)
        edit_config(path, architectures=None)
        assert recognise(open_checkpoint(path)).name == family


# ---- how layers are read ---------------------------------------------------------------------


def test_trilm_has_a_scale_for_each_block_of_rows(tmp_path: Path) -> None:
    model = tiny_model("llama", inner=64)
    name = "model.layers.0.mlp.up_proj"
    halves = np.repeat([[0.25], [0.5]], 32, 0)
    path = write_tiny(
        tmp_path, model, "unpacked", masters="F16",
        more={f"{name}.weight": stored_floats(model.trits[name] * halves, "F16")},
    )  # fmt: skip
    scale = numbers(path, f"{name}.weight_scale")
    assert scale.ravel().tolist() == halves.ravel().tolist()
    np.testing.assert_array_equal(numbers(path, f"{name}.weight"), model.trits[name])
    facts = build(path)[1]
    assert facts.activations == "int16"
    assert facts.activations_because == "only the weights were quantized in training"


def test_unpacked_floats_of_a_model_trained_as_bitnet_get_int8(tmp_path: Path) -> None:
    path = write_tiny(tmp_path, tiny_model("llama", is_bitnet_config=True), "unpacked")
    facts = build(path)[1]
    assert facts.activations == "int8"
    assert facts.activations_because == "as BitNet was trained"


def test_a_binary_matrix_is_stored_in_one_bit(tmp_path: Path) -> None:
    path = write_tiny(tmp_path, tiny_model("qwen3", binary=True), "unpacked")
    found = build(path)[0].graph.initializers["model.layers.0.mlp.up_proj.weight"]
    assert found.meta["stored"].matrix.kind.value == "signs"


def test_masters_of_1bitllm_are_quantized_by_absmean(tmp_path: Path) -> None:
    model = tiny_model("bitnet_llama", inner=100)
    path = write_tiny(tmp_path, model, "masters")
    for name, trits in model.trits.items():
        np.testing.assert_array_equal(numbers(path, f"{name}.weight"), trits)
        found = float(numbers(path, f"{name}.weight_scale").item())
        assert found == pytest.approx(model.scales[name], rel=1e-6)


def test_a_plain_float_model_is_refused_with_the_way_out(tmp_path: Path) -> None:
    for family in ("bitnet", "llama", "qwen2", "qwen3"):
        path = write_tiny(tmp_path / family, tiny_model(family), "float")
        assert "--ternarize absmean" in refused(path, "is not ternary" if family != "bitnet"
                                                else "float model")  # fmt: skip


def test_weights_that_nothing_reads_are_refused_by_name(tmp_path: Path) -> None:
    path = write_family(tmp_path, "llama")
    name = "model.layers.0.self_attn.q_proj.bias"
    replace_tensor(path, name, stored_floats(np.ones(64), "F32"))
    refused(path, f"nothing in this family of models computes with `{name}`")


def test_a_scale_beside_float_masters_is_refused(tmp_path: Path) -> None:
    """The file of one reading with the config of another."""
    path = write_tiny(tmp_path, tiny_model("llama"), "online")
    name = "model.layers.0.self_attn.q_proj.weight_scale"
    replace_tensor(path, name, stored_floats(np.ones(1), "F32"))
    refused(path, f"`{name}`")


def test_packed_trits_where_masters_are_promised_are_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path, tiny_model("llama"), "online")
    name = "model.layers.0.self_attn.q_proj"
    trits = tiny_model("llama").trits[name]
    replace_tensor(path, f"{name}.weight", packed(trits))
    refused(path, f"`{name}.weight` holds packed trits")
