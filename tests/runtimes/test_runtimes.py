"""Other people's runtimes, each with every flavour that it can run.

`packed` and `portable` choose the reference's greedy tokens, with logits that are near.  Flavours
that are called near promise no token: their logits are held to a bound, and README's table, which
`python -m tests.runtimes.table` measures, counts the tokens.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.runtimes.conftest import CHECKPOINT, CHOSEN, TEXT
from tests.runtimes.in_browser import run_in_browser
from tests.runtimes.places import (
    HINT,
    NEW_PYTHON,
    OLD_LITERT,
    OLD_PYTHON,
    Runs,
    browser,
    kernels_in_genai,
)
from tests.runtimes.table import CUSTOM, MARKED, MEASURED, RUNTIMES, Row, called, readme_table

from bitexport.checkpoints.checkpoint import open_checkpoint
from bitexport.emit.manifest import Bundle
from bitexport.emit.onnx_standard import FILES, Flavour
from bitexport.emit.tflite_step import TfliteFlavour, write_near
from bitexport.models import build_model
from bitexport.models.parts.options import Options
from bitexport.package.deviation import deviation
from bitexport.passes.pipeline import lower
from bitexport.toolchain.litert import LAST_PYTHON
from bitexport.toolchain.onnxruntime import OPS_LIBRARY

PORTABLE = FILES[Flavour.PORTABLE]
NEAR: tuple[str, ...] = (Flavour.ORT2BIT, "int2", "int8")
"""Flavours that quantize activations their own way."""
MEAN_KL = {CUSTOM: 0, Flavour.PACKED: 5e-5, Flavour.PORTABLE: 5e-5, **dict.fromkeys(NEAR, 1e-3)}
"""Nats per token.  A code of an activation that rounds the other way is what moves a logit."""


def check_logits(runs: Runs, flavour: str, tokens: Sequence[int] | None = None) -> None:
    """Hold a run to its flavour; `tokens` are those that the runtime took by itself.

    Behind one that is not the reference's the logits are those of another text.
    """
    found = runs.found()
    if flavour not in NEAR:
        np.testing.assert_array_equal(found.argmax(axis=1), runs.chosen)
        assert tokens is None or list(tokens) == list(runs.chosen)
    elif tokens is not None:
        others = np.flatnonzero(np.not_equal(tokens, runs.chosen))
        found = found[: others[0] + 1] if others.size else found
    assert deviation(found, runs.logits[: len(found)]).mean_kl <= MEAN_KL[flavour]


@pytest.mark.parametrize("flavour", Flavour)
def test_the_newest_onnxruntime(flavour: Flavour, stories: Bundle, runs: Runs) -> None:
    runs.onnxruntime(stories.path / FILES[flavour], NEW_PYTHON)
    check_logits(runs, flavour)


@pytest.mark.parametrize("flavour", [Flavour.PACKED, Flavour.PORTABLE])
def test_the_oldest_onnxruntime(flavour: Flavour, stories: Bundle, runs: Runs) -> None:
    said = runs.onnxruntime(stories.path / FILES[flavour], OLD_PYTHON)
    assert said["runtime"] == "onnxruntime 1.20.1"
    check_logits(runs, flavour)


def test_the_oldest_onnxruntime_knows_no_2_bits(stories: Bundle, runs: Runs) -> None:
    with pytest.raises(AssertionError, match="nbits_ == "):
        runs.onnxruntime(stories.path / FILES[Flavour.ORT2BIT], OLD_PYTHON)


def test_onnxruntime_genai_opens_the_folder(stories: Bundle, runs: Runs) -> None:
    said = runs.genai(stories.path)
    assert said["text"].startswith("Once upon a time, there was a little girl")
    check_logits(runs, Flavour.PORTABLE, said["tokens"])


@pytest.mark.parametrize("flavour", [Flavour.PACKED, Flavour.ORT2BIT])
def test_onnxruntime_genai_runs_the_other_graphs(
    flavour: Flavour, stories: Bundle, runs: Runs
) -> None:
    said = runs.genai(stories.path, FILES[flavour])
    check_logits(runs, flavour, said["tokens"])


def test_onnxruntime_genai_gives_every_bit_with_our_kernels(
    stories: Bundle, runs: Runs, custom_ops: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(stories.path, tmp_path / "stories"))
    (folder / "lib/host").mkdir(parents=True)
    shutil.copy(custom_ops, folder / "lib/host" / OPS_LIBRARY)
    said = runs.genai(folder, overlay=kernels_in_genai())
    assert said["tokens"] == list(runs.chosen)
    assert runs.found().tobytes() == runs.logits.tobytes()


def test_optimum_loads_the_folder_and_a_batch_with_padding(stories: Bundle, runs: Runs) -> None:
    said = runs.optimum(stories.path, PORTABLE)
    whole, shorter = said["batch"]
    assert whole == list(runs.chosen[:16])
    assert shorter == [*runs.prompt[-2:], *runs.chosen[:14]]
    check_logits(runs, Flavour.PORTABLE, said["tokens"])


def test_onnxruntime_web_in_node(stories: Bundle, runs: Runs) -> None:
    runs.web(stories.path, PORTABLE)
    check_logits(runs, Flavour.PORTABLE)


def test_onnxruntime_web_on_a_page(stories: Bundle, runs: Runs) -> None:
    if browser() is None:
        assert platform.freedesktop_os_release()["ID"] != "debian", f"no Chromium: {HINT}"
        pytest.skip("optional: no Chromium here, and this system has no package of it")
    run_in_browser(runs, stories.path, PORTABLE)
    check_logits(runs, Flavour.PORTABLE)


def test_transformers_js_reads_folder_tokenizer_and_text(stories: Bundle, runs: Runs) -> None:
    said = runs.transformers(stories.path, PORTABLE, TEXT)
    assert said["prompt"] == list(runs.prompt)
    assert said["tokens"] == list(runs.chosen)
    assert "a little girl named Lily" in said["text"]


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Return the story model's step in ops of LiteRT, by flavour."""
    folder = tmp_path_factory.mktemp("steps")
    model, facts = build_model(open_checkpoint(CHECKPOINT), Options())
    lower(model, "p2r")
    flavours: tuple[TfliteFlavour, ...] = ("int2", "int8")
    for flavour in flavours:
        write_near(folder / flavour, model, facts, flavour, {})
    return {flavour: folder / flavour for flavour in flavours}


@pytest.mark.parametrize("flavour", ["int2", "int8"])
def test_litert(flavour: str, steps: Mapping[str, Path], runs: Runs) -> None:
    runs.litert(steps[flavour])
    check_logits(runs, flavour)


def test_the_oldest_litert(steps: Mapping[str, Path], runs: Runs) -> None:
    if sys.version_info[:2] > LAST_PYTHON:
        pytest.skip("optional: upstream has no tflite-runtime for this Python")
    assert runs.litert(steps["int8"], None, OLD_LITERT)["runtime"] == "tflite-runtime 2.14.0"
    check_logits(runs, "int8")


def test_the_table_of_readme_is_what_was_measured(repository: Path) -> None:
    marked = MARKED.search((repository / "README.md").read_text(encoding="utf-8"))
    assert marked, "README has lost the marks around its table of runtimes"
    assert marked[2] == f"{readme_table()}\n"


def test_what_was_measured_is_what_each_flavour_promises() -> None:
    rows = [Row(**each) for each in json.loads(MEASURED.read_text(encoding="utf-8"))]
    assert {row.runtime.partition(" ")[0].rstrip(",") for row in rows} == {
        name.partition(" ")[0].rstrip(",") for name in RUNTIMES
    }
    assert [row.runtime for row in rows if not row.loads] == ["onnxruntime 1.20.1"]
    for row in (row for row in rows if row.loads):
        assert row.tokens == CHOSEN
        assert row.flavour in NEAR or row.tokens_equal == CHOSEN, row
        has_logits = RUNTIMES[called(row.runtime)][2]
        assert has_logits == (row.mean_kl is not None)
        assert row.mean_kl is None or row.mean_kl <= MEAN_KL[row.flavour], row


def test_our_kernels_and_our_delegate_gave_every_bit() -> None:
    rows = [Row(**each) for each in json.loads(MEASURED.read_text(encoding="utf-8"))]
    ours = [row for row in rows if row.flavour == CUSTOM or row.runtime.startswith("our kernels")]
    assert len(ours) == 5
    assert all(row.positions_equal == row.tokens for row in ours)
