"""Trap number one: a scale multiplies or divides, and config.json says which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from samples.families.gguf_file import F32
from tests.families.containers import (
    Write,
    write_gguf,
    write_packed_divide,
    write_packed_multiply,
    write_wrong_way,
)
from tests.families.trained import HELD_OUT, trained

from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import find_target
from bitexport.verify.expected import load_reference
from bitexport.verify.fidelity import read_windows

MODELS = {"stories": "bitnet-b1.58", "falcon": "llama"}


def logits(model: str, write: Write, folder: Path) -> np.ndarray:
    """Return the bits of the logits of a story, by the reference."""
    checkpoint = write(trained(model), folder / "checkpoint")
    bundle = build_bundle(
        checkpoint, find_target("host"), Options(), folder / "out", Wanted(compile_library=False)
    )
    (story, *_) = read_windows(HELD_OUT, bundle)
    made = load_reference(bundle.graph).session().run(np.array(story, np.int32), trace=False)
    return made.logits.view(np.uint32)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_stored_both_ways_gives_the_same_bits(model: str, tmp_path: Path) -> None:
    expected = logits(model, write_packed_multiply, tmp_path / "multiply")
    divided = logits(model, write_packed_divide, tmp_path / "divide")
    gguf = logits(model, write_gguf(MODELS[model], "I2_S", F32), tmp_path / "gguf")
    assert np.array_equal(expected, divided)
    assert np.array_equal(expected, gguf)


@pytest.mark.parametrize("model", MODELS)
def test_the_wrong_reading_is_not_the_same_model(model: str, tmp_path: Path) -> None:
    expected = logits(model, write_packed_multiply, tmp_path / "multiply").view(np.float32)
    wrong = logits(model, write_wrong_way, tmp_path / "wrong").view(np.float32)
    assert np.abs(expected - wrong).max() > expected.std()
    assert (expected.argmax(-1) == wrong.argmax(-1)).mean() < 0.9
