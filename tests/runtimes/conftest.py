"""The story model in every flavour, and what the reference makes of a prompt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.runtimes.places import Runs

from bitexport.emit.manifest import Bundle
from bitexport.emit.onnx_standard import Flavour
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import find_target
from bitexport_ref.evaluator import greedy, load

PROMPT = (1, 403, 407, 261, 378)
TEXT = "Once upon a time"
CHOSEN = 64


@pytest.fixture(scope="session")
def stories(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return the story model as a bundle with every flavour; only to be read."""
    folder = tmp_path_factory.mktemp("stories") / "bundle"
    wanted = Wanted(compile_library=False, onnx=tuple(Flavour))
    checkpoint = repository / "samples/stories/model"
    return build_bundle(checkpoint, find_target("host"), Options(), folder, wanted)


@pytest.fixture(scope="session")
def runs(stories: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Return the prompt, and the reference's greedy tokens and logits behind it."""
    session, rows, chosen = load(stories.graph).session(), [], []
    given = np.array(PROMPT, np.int32)
    for _ in range(CHOSEN):
        rows.append(session.run(given, trace=False, rows="last").logits[-1])
        chosen.append(greedy(rows[-1]))
        given = np.array(chosen[-1:], np.int32)
    return Runs(tmp_path_factory.mktemp("runs"), PROMPT, chosen, np.stack(rows))
