"""Test number one: a scale that divides and one that multiplies are the same model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.exporter.models.graphs import build, contents, numbers
from tests.tiny_checkpoint import edit_config
from tests.tiny_families import QUANTIZATION, Way, tiny_model, write_tiny

FAMILIES = ["bitnet", "llama", "qwen2", "qwen3"]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_model_stored_both_ways_is_the_same_bytes(family: str, tmp_path: Path) -> None:
    """Of Qwen2 all but the biases, which AutoBitLinear multiplies too."""
    model = tiny_model(family)
    ways: tuple[Way, ...] = ("divided", "multiplied")
    first, second = (contents(write_tiny(tmp_path / way, model, way)) for way in ways)
    assert first.keys() == second.keys()
    assert {n for n in first if first[n] != second[n]} == {n for n in first if n.endswith(".bias")}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_wrong_reading_is_another_model(family: str, tmp_path: Path) -> None:
    """What reading a dividing scale as a factor does: the trits agree, no scale does."""
    model = tiny_model(family)
    path = write_tiny(tmp_path, model, "divided")
    right = contents(path)
    edit_config(path, quantization_config=QUANTIZATION["multiplied"])
    wrong = contents(path)
    for name, scale in model.scales.items():
        assert right[f"{name}.weight"] == wrong[f"{name}.weight"]
        assert right[f"{name}.weight_scale"] == np.float32(scale).tobytes()
        assert wrong[f"{name}.weight_scale"] == np.float32(1 / scale).tobytes()


@pytest.mark.parametrize(
    ("said", "divides"),
    [
        ({}, True),
        ({"linear_class": None}, True),
        ({"linear_class": "bitlinear"}, True),
        ({"linear_class": "bitlinear", "quantization_mode": "online"}, True),
        ({"linear_class": "autobitlinear"}, False),
        ({"linear_class": "autobitlinear", "quantization_mode": "offline"}, False),
    ],
)
def test_the_direction_is_that_of_the_linear_class(
    said: dict[str, str], divides: bool, tmp_path: Path
) -> None:
    model = tiny_model("llama")
    path = write_tiny(tmp_path, model, "divided" if divides else "multiplied")
    edit_config(path, quantization_config={"quant_method": "bitnet"} | said)
    for name, scale in model.scales.items():
        assert numbers(path, f"{name}.weight_scale").item() == scale


def test_online_masters_have_the_scale_of_their_mean(tmp_path: Path) -> None:
    model = tiny_model("llama")
    path = write_tiny(tmp_path, model, "online")
    for name, scale in model.scales.items():
        assert numbers(path, f"{name}.weight_scale").item() == pytest.approx(scale, rel=1e-6)
        np.testing.assert_array_equal(numbers(path, f"{name}.weight"), model.trits[name])


def test_autobitlinear_multiplies_its_bias_too(tmp_path: Path) -> None:
    """`F.linear(input, weight, bias)` comes before `* weight_scale` in transformers."""
    model = tiny_model("qwen2")
    ways: tuple[Way, ...] = ("divided", "multiplied", "online")
    for way in ways:
        path = write_tiny(tmp_path / way, model, way)
        name = "model.layers.1.self_attn.k_proj"
        bias = model.floats[f"{name}.bias"]
        factor = np.float32(model.scales[name] if way == "multiplied" else 1)
        assert numbers(path, f"{name}.bias").ravel().tobytes() == (bias * factor).tobytes()


def test_the_graph_says_why_it_took_these_activations(tmp_path: Path) -> None:
    ways: dict[Way, str] = {"divided": "bitlinear", "multiplied": "autobitlinear"}
    for way, name in ways.items():
        facts = build(write_tiny(tmp_path / way, tiny_model("llama"), way))[1]
        assert facts.activations_because == f"as {name} of `quantization_config` was trained"
