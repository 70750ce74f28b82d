"""A checkpoint that reaches what random numbers do not, and builds of it by broken tools."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.families.trained import SAMPLES
from tests.tiny_checkpoint import (
    Shape,
    packed,
    replace_tensor,
    stored_floats,
    write_checkpoint,
)
from tests.verify.broken_tool import Edit, Tree, copy_tool
from tokenizers import Tokenizer

SHAPE = Shape(hidden=128, inner=192, layers=2, heads=4, kv_heads=2, vocabulary=96, context=64)
WHEELS = Path(sys.prefix) / "wheels"
SPECIAL = ("\u2581w0", "\u2581w1", "\u2581w2", "\u2581w3")


@pytest.fixture(scope="session")
def arm64_wheel() -> Path:
    """Return the wheel of onnxruntime for arm64 that .ci/setup fetches beside the environment."""
    found = sorted(WHEELS.glob("onnxruntime-*aarch64.whl"))
    assert found, f"no wheel of onnxruntime for aarch64 in {WHEELS}; .ci/setup test fetches it"
    return found[-1]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random checkpoint that also holds what random numbers never reach.

    `w0` is a row of equal numbers, and the first rows of the first matrix are ones: there every
    activation is 127 and every product as large as it can be.  `w1` puts activations on ties of
    the rounding.  `w2` is zeros: every op makes zeros of it, however it rounds.  `w3` shows in
    which order lanes are added: 2**-24 twice is lost when each is added to 1, and not when they are
    added to each other first.  The second half of the vocabulary is the first again: every greedy
    choice is between equals.
    """
    made = write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny", SHAPE)
    first = "model.layers.0"
    ones = np.ones(SHAPE.hidden)
    replace_tensor(made.path, f"{first}.input_layernorm.weight", stored_floats(ones, "BF16"))
    trits = made.trits[f"{first}.self_attn.q_proj"].copy()
    trits[:16] = 1
    replace_tensor(made.path, f"{first}.self_attn.q_proj.weight", packed(trits))
    tokens = Tokenizer.from_file(str(made.path / "tokenizer.json")).get_vocab()
    even, ties, zeros, lanes = (tokens[word] for word in SPECIAL)
    table = made.floats["model.embed_tokens.weight"].copy()
    table[even] = 0.5
    table[ties] = (4 * np.arange(SHAPE.hidden) % 200 + 1) / 128
    table[ties, 0] = 254 / 128
    table[[zeros, lanes]] = 0
    table[lanes, [0, 4, 6]] = 1, 2**-12, 2**-12
    table[48:] = table[:48]
    replace_tensor(made.path, "model.embed_tokens.weight", stored_floats(table, "BF16"))
    return made.path


@pytest.fixture(scope="session")
def build(
    repository: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Tree]:
    """Return a function that copies the tool, edits the copy, and builds a checkpoint with it.

    The checkpoint is the one above, or a model of samples/families by the name of its folder.
    """

    def copy_and_build(edits: Sequence[Edit], target: str, *options: str, sample: str = "") -> Tree:
        tree = copy_tool(repository, tmp_path_factory.mktemp("tree"), edits)
        model = SAMPLES / "families" / sample if sample else checkpoint
        words = ("build", str(model), "--target", target, "-o", "bundle", *options)
        return dataclasses.replace(tree, built=tree.command(*words))

    return copy_and_build


@pytest.fixture(scope="session")
def sound(build: Callable[..., Tree]) -> Callable[[str], Tree]:
    """Return a function that gives the copy that nobody broke, built for a target, once."""

    @functools.cache
    def of_target(target: str) -> Tree:
        return build((), target)

    return of_target
