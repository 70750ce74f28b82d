"""--ternarize says what it costs: before and after, on the same text, in bundle and report."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from tests.tiny_checkpoint import WORDS
from tests.tiny_families import tiny_model, write_tiny

from bitexport.cli import main
from bitexport.emit.manifest import open_bundle
from bitexport.evaluate.likelihood import token_nats
from bitexport.evaluate.perplexity import evaluate
from bitexport.evaluate.sample import BUILT_IN
from bitexport.evaluate.windows import Window, read_text
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import find_target
from bitexport.tokenizer.text import load_tokenizer
from bitexport.verify.oracle import open_oracle

AGAINST_TRANSFORMERS = 1e-3  # relative: float sums in another order, and a cache of f16
Build = Callable[..., Result]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of floats."""
    return write_tiny(tmp_path_factory.mktemp("float") / "model", tiny_model("llama"), "float")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 60 words that the tiny tokenizer knows."""
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text(" ".join(random.Random(6).choices(WORDS, k=60)), encoding="utf-8")
    return path


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Return a function that builds a checkpoint into `tmp_path/out`."""

    def call(checkpoint: Path, *words: object) -> Result:
        fixed = ["build", checkpoint, "--target", "arm64", "-o", tmp_path / "out", "--no-library"]
        return CliRunner().invoke(main, [str(word) for word in [*fixed, *words]])

    return call


def test_it_is_told_kept_in_the_manifest_and_shown_in_the_report(
    model: Path, text: Path, build: Build, tmp_path: Path
) -> None:
    result = build(model, "--ternarize", "absmean", "--eval-text", text)
    assert result.exit_code == 0, result.output
    out = tmp_path / "out"
    cost = open_bundle(out, check_files=True).manifest["measured"]["ternarize"]
    assert cost["text"] == "words.txt"
    assert cost["before"] != cost["after"]
    words = f"perplexity {cost['before']:.4g} before, {cost['after']:.4g} after"
    assert words in result.stderr
    assert f"on {cost['tokens']} tokens of words.txt" in result.stderr
    assert words in (out / "report.html").read_text(encoding="utf-8")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["measured"]["ternarize"] == cost


def test_after_is_what_eval_says_of_the_bundle(
    model: Path, text: Path, build: Build, tmp_path: Path
) -> None:
    assert build(model, "--ternarize", "absmean", "--eval-text", text).exit_code == 0
    cost = open_bundle(tmp_path / "out").manifest["measured"]["ternarize"]
    said = CliRunner().invoke(main, ["eval", str(tmp_path / "out"), str(text), "--json"])
    assert json.loads(said.stdout)["perplexity"] == cost["after"]
    assert json.loads(said.stdout)["context"] == cost["context"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_before_is_what_transformers_says_of_the_checkpoint(
    model: Path, text: Path, build: Build, tmp_path: Path
) -> None:
    assert build(model, "--ternarize", "absmean", "--eval-text", text).exit_code == 0
    cost = open_bundle(tmp_path / "out").manifest["measured"]["ternarize"]
    oracle = open_oracle(model)

    def nats(window: Window) -> NDArray[np.float64]:
        rows = oracle.logits(list(window.tokens[:-1]))[window.first - 1 :]
        return token_nats(rows.astype(np.float32), window.tokens[window.first :])

    read = read_text(text, load_tokenizer(model), oracle.model.config.vocab_size)
    theirs = evaluate([read], cost["context"], lambda windows: enumerate(map(nats, windows)))
    assert cost["before"] == pytest.approx(theirs.whole.perplexity, rel=AGAINST_TRANSFORMERS)


def test_without_a_text_it_is_measured_on_a_passage_that_is_said_to_be_small(
    model: Path, build: Build, tmp_path: Path
) -> None:
    result = build(model, "--ternarize", "absmean")
    assert result.exit_code == 0, result.output
    cost = open_bundle(tmp_path / "out").manifest["measured"]["ternarize"]
    assert cost["text"] == BUILT_IN
    assert cost["tokens"] > 200
    assert "a text of the model's own domain says more: --eval-text FILE" in result.stderr


def test_without_a_tokenizer_it_is_refused_before_anything_is_built(
    build: Build, tmp_path: Path
) -> None:
    bare = write_tiny(tmp_path / "model", tiny_model("llama"), "float")
    (bare / "tokenizer.json").unlink()
    result = build(bare, "--ternarize", "absmean")
    assert result.exit_code == 3
    assert "a text needs a tokenizer" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_taken_is_refused_before_anything_is_run(
    model: Path, build: Build, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    result = build(model, "--ternarize", "absmean")
    assert result.exit_code == 1
    assert "out: already exists" in result.stderr
    assert "float model" not in result.stderr


def test_a_text_without_ternarize_is_exit_64(model: Path, text: Path, build: Build) -> None:
    result = build(model, "--eval-text", text)
    assert result.exit_code == 64
    assert "give both" in result.stderr


def test_a_text_that_is_none_is_refused(model: Path, build: Build, tmp_path: Path) -> None:
    result = build(model, "--ternarize", "absmean", "--eval-text", tmp_path / "none.txt")
    assert result.exit_code == 3
    assert "none.txt: cannot be read" in result.stderr
    assert not (tmp_path / "out").exists()


def test_building_twice_gives_the_same_bytes(
    model: Path, text: Path, build: Build, tmp_path: Path
) -> None:
    manifests = []
    for _ in range(2):
        words = ["--ternarize", "absmean", "--eval-text", text, "--force"]
        assert build(model, *words).exit_code == 0
        manifests.append((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifests[0] == manifests[1]


def test_a_build_that_measures_nothing_says_so(model: Path, tmp_path: Path) -> None:
    bundle = build_bundle(
        model, find_target("arm64"), Options(ternarize="absmean"), tmp_path / "out",
        Wanted(compile_library=False, self_test=False),
    )  # fmt: skip
    assert bundle.manifest["measured"] == {}
