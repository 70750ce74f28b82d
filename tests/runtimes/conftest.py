"""The story model in every flavour, and what the reference makes of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from tests.runtimes.places import Runs

from bitexport.emit.manifest import Bundle
from bitexport.emit.onnx_standard import Flavour
from bitexport.emit.tflite_step import TfliteFlavour
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import find_target
from bitexport_ref.evaluator import greedy, load

CHECKPOINT = Path(__file__).parents[2] / "samples/stories/model"
PROMPT = (1, 403, 407, 261, 378)
TEXT = "Once upon a time"
CHOSEN = 64


def build_stories(checkpoint: Path, folder: Path, *, libraries: bool = False) -> Bundle:
    """Build the story model with every flavour of the graph, or everything that a table has."""
    wanted = Wanted(
        compile_library=libraries, custom_ops=libraries, onnx=tuple(Flavour),
        tflite=get_args(TfliteFlavour) if libraries else (),
    )  # fmt: skip
    return build_bundle(checkpoint, find_target("host"), Options(), folder, wanted)


def follow(
    bundle: Bundle, folder: Path, prompt: Sequence[int] = PROMPT, count: int = CHOSEN
) -> Runs:
    """Return the prompt, and the reference's greedy tokens and logits behind it."""
    session, rows, chosen = load(bundle.graph).session(), [], []
    given = np.array(prompt, np.int32)
    for _ in range(count):
        rows.append(session.run(given, trace=False, rows="last").logits[-1])
        chosen.append(greedy(rows[-1]))
        given = np.array(chosen[-1:], np.int32)
    return Runs(folder, prompt, chosen, np.stack(rows))


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return the story model as a bundle with every flavour; only to be read."""
    return build_stories(CHECKPOINT, tmp_path_factory.mktemp("stories") / "bundle")


@pytest.fixture(scope="session")
def runs(stories: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Return what every runtime is to make of a prompt."""
    return follow(stories, tmp_path_factory.mktemp("runs"))
