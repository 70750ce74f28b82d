"""Every variation of the decoder computes what transformers computes.

Against its float64: then both sides are the same numbers on every machine, and no code that lies on
a rounding tie falls one way here and the other way there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.tiny_checkpoint import packed, stored_floats
from tests.tiny_families import Way, tiny_model, write_tiny

from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import find_target
from bitexport.verify.oracle import open_oracle
from bitexport_ref.evaluator import load

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TOKENS = [1, 3, 5, 7, 9, 11, 20, 40, 60, 80]
FLOAT32 = 2e-6
"""Of the largest logit: what float32 has been seen to lose, times five."""
INT16_STEP = 4e-4
"""Of the largest logit: what rounding to 1 / 32512 has been seen to lose, times five."""
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
BIASES = {"biased": (*PROJECTIONS, *MLP), "attention_bias": True, "mlp_bias": True}

CASES: dict[str, tuple[str, Way, dict[str, Any]]] = {
    "bitnet": ("bitnet", "multiplied", {"tied": True}),
    "bitnet_untied": ("bitnet", "divided", {}),
    "bitnet_silu": ("bitnet", "online", {"hidden_act": "silu"}),
    "bitnet_llama": ("bitnet_llama", "masters", {"tied": True}),
    "llama_divided": ("llama", "divided", {}),
    "llama_multiplied": ("llama", "multiplied", {"tied": True}),
    "llama_online": ("llama", "online", {"tied": True}),
    "llama_biases_divided": ("llama", "divided", BIASES),
    "llama_biases_multiplied": ("llama", "multiplied", BIASES),
    "llama_biases_online": ("llama", "online", BIASES),
    "llama_rope_linear": ("llama", "divided", {"rope_scaling": {"type": "linear", "factor": 3.0}}),
    "llama_rope_llama3": ("llama", "divided", {"rope_scaling": LLAMA3}),
    "llama_rope_yarn": ("llama", "divided", {"rope_scaling": YARN}),
    "qwen2_divided": ("qwen2", "divided", {}),
    "qwen2_multiplied": ("qwen2", "multiplied", {"tied": True}),
    "qwen3_divided": ("qwen3", "divided", {"tied": True}),
    "qwen3_biases": ("qwen3", "online", {"biased": PROJECTIONS, "attention_bias": True}),
}


def both(
    path: Path, folder: Path, **options: Any
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the logits of the reference and of transformers."""
    bundle = build_bundle(
        path, find_target("host"), Options(cache="f32", **options), folder / "bundle",
        Wanted(compile_library=False, self_test=False),
    )  # fmt: skip
    session = load(bundle.graph).session()
    found = session.run(np.array(TOKENS, np.int32)).logits
    return found, open_oracle(path, double=True).logits(TOKENS)


def check(path: Path, folder: Path, most: float, **options: Any) -> None:
    """Check that the largest difference is within a share of the largest logit."""
    found, expected = both(path, folder, **options)
    assert np.abs(found - expected).max() <= most * np.abs(expected).max()


@pytest.mark.parametrize("case", CASES)
def test_every_variation_is_that_of_transformers(case: str, tmp_path: Path) -> None:
    family, way, changes = CASES[case]
    path = write_tiny(tmp_path / "model", tiny_model(family, **changes), way)
    check(path, tmp_path, FLOAT32)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_weight_only_models_are_near_the_floats(family: str, tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "model", tiny_model(family), "unpacked")
    check(path, tmp_path, INT16_STEP)


def test_binary_weights_are_near_the_floats(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "model", tiny_model("qwen3", binary=True), "unpacked")
    check(path, tmp_path, INT16_STEP)


@pytest.mark.parametrize("way", ["divided", "multiplied", "online"])
def test_a_norm_before_each_projection_is_that_of_transformers(way: Way, tmp_path: Path) -> None:
    model, draw = tiny_model("llama"), np.random.default_rng(3)
    more = {
        f"{name}.rms_norm.weight": stored_floats(1 + draw.standard_normal(t.shape[1]) / 10, "F32")
        for name, t in model.trits.items()
    }
    quantization = {"use_rms_norm": True, "rms_norm_eps": 1e-3,
                    "modules_to_not_convert": ["lm_head"]}  # fmt: skip
    path = write_tiny(tmp_path / "model", model, way, quantization=quantization, more=more)
    check(path, tmp_path, FLOAT32)


def test_a_converted_head_is_that_of_transformers(tmp_path: Path) -> None:
    trits = np.random.default_rng(3).integers(-1, 2, (96, 64)).astype(np.int8)
    path = write_tiny(
        tmp_path / "model", tiny_model("llama"), "divided",
        quantization={"modules_to_not_convert": ["nothing"]},
        more={"lm_head.weight": packed(trits),
              "lm_head.weight_scale": stored_floats(np.array([8.0]), "F32")},
    )  # fmt: skip
    check(path, tmp_path, FLOAT32)


def test_the_wrong_direction_of_a_scale_is_far_from_transformers(tmp_path: Path) -> None:
    """The check above would see it: what it measures is not always small."""
    path = write_tiny(tmp_path / "model", tiny_model("llama"), "divided")
    expected = open_oracle(path, double=True).logits(TOKENS)
    wrong = write_tiny(tmp_path / "wrong", tiny_model("llama"), "multiplied",
                       quantization={"linear_class": "bitlinear"})  # fmt: skip
    found, _ = both(wrong, tmp_path)
    assert np.abs(found - expected).max() > 1e-2 * np.abs(expected).max()
