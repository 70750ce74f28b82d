"""--measure-cache says what each KV cache costs: in bundle, report and on the terminal."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tests.tiny_checkpoint import WORDS, Checkpoint

from bitexport.cli import main
from bitexport.emit.manifest import open_bundle
from bitexport.evaluate.likelihood import divergence
from bitexport.evaluate.windows import read_text
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import find_target
from bitexport.tokenizer.text import load_tokenizer
from bitexport_ref.evaluator import load


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 90 words that the tiny tokenizer knows: two windows."""
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text(" ".join(random.Random(6).choices(WORDS, k=90)), encoding="utf-8")
    return path


def build(checkpoint: Path, out: Path, *words: object) -> Result:
    """Build for a target, without a library."""
    fixed = ["build", checkpoint, "--target", "arm64", "-o", out, "--no-library", "--no-selftest"]
    return CliRunner().invoke(main, [str(word) for word in [*fixed, *words]])


def test_it_is_told_kept_in_the_manifest_and_shown_in_the_report(
    tiny: Checkpoint, text: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = build(tiny.path, out, "--kv-cache", "int8", "--measure-cache", "--eval-text", text)
    assert result.exit_code == 0, result.output
    costs = open_bundle(out, check_files=True).manifest["measured"]["kv_cache"]
    assert costs["text"] == "words.txt"
    assert set(costs["caches"]) == {"f16", "int8"}
    page = (out / "report.html").read_text(encoding="utf-8")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    for cache, cost in costs["caches"].items():
        assert 0 < cost["kl"] < 1
        assert f"{cache} {cost['kl']:.2e}" in result.stderr
        assert f">{cost['kl']:.2e}<" in page
    kinds = {each["cache"]: each for each in report["caches"]}
    assert list(kinds) == ["f32", "f16", "int8"]
    assert (kinds["f32"]["kl"], kinds["f32"]["same_choice"]) == (0, 1)
    assert kinds["int8"]["kl"] == costs["caches"]["int8"]["kl"]
    assert "int8, this one" in page


def test_the_figures_are_those_of_the_logits(tiny: Checkpoint, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert build(tiny.path, out, "--measure-cache", "--eval-text", text).exit_code == 0
    costs = open_bundle(out).manifest["measured"]["kv_cache"]
    logits = {}
    for cache in ("f32", "int8"):
        wanted = Wanted(compile_library=False, self_test=False)
        twin = build_bundle(
            tiny.path, find_target("host"), Options(cache=cache), tmp_path / cache, wanted
        )
        vocabulary = int(twin.manifest["model"]["vocabulary"])
        windows = read_text(text, load_tokenizer(tiny.path), vocabulary).windows(costs["context"])
        model = load(twin.graph)
        logits[cache] = np.concatenate(
            [model.session().run(np.array(w.tokens, np.int32), trace=False).logits for w in windows]
        ).astype(np.float64)
    of, to = (each - each.max(-1, keepdims=True) for each in (logits["f32"], logits["int8"]))
    p, q = (each - np.log(np.exp(each).sum(-1, keepdims=True)) for each in (of, to))
    kl = float((np.exp(p) * (p - q)).sum(-1).mean())
    assert costs["tokens"] == len(of)
    assert costs["caches"]["int8"]["kl"] == pytest.approx(kl, rel=1e-6)
    same = float((of.argmax(-1) == to.argmax(-1)).mean())
    assert costs["caches"]["int8"]["same_choice"] == pytest.approx(same)


def test_a_row_diverges_from_itself_by_nothing() -> None:
    logits = np.random.default_rng(1).standard_normal((3, 70)).astype(np.float32)
    assert divergence(logits, logits).tolist() == [0, 0, 0]
    assert (divergence(logits, logits[:, ::-1]) > 0.01).all()


@pytest.mark.parametrize("cache", ["f32", "f16", "int8"])
def test_the_report_has_the_bytes_that_the_plan_has(
    cache: str, tiny: Checkpoint, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert build(tiny.path, out, "--kv-cache", cache).exit_code == 0
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    (found,) = (each for each in report["caches"] if each["cache"] == cache)
    largest = report["memory"][-1]
    assert found["position_bytes"] * largest["context"] == largest["states"]
    assert found["kl"] is None
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "build --measure-cache</code> measures" in page


def test_without_a_tokenizer_it_is_refused_before_anything_is_built(
    tiny: Checkpoint, tmp_path: Path
) -> None:
    bare = tmp_path / "model"
    bare.mkdir()
    for path in tiny.path.iterdir():
        if path.name != "tokenizer.json":
            (bare / path.name).write_bytes(path.read_bytes())
    result = build(bare, tmp_path / "out", "--measure-cache")
    assert result.exit_code == 3
    assert "--measure-cache is measured on a text" in result.stderr
    assert not (tmp_path / "out").exists()
