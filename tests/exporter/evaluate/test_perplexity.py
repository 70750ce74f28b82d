"""Perplexity is what the definition says, and what transformers gives on the same windows."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from bitexport.evaluate.likelihood import token_nats
from bitexport.evaluate.perplexity import evaluate
from bitexport.evaluate.spread import score_here
from bitexport.evaluate.windows import Text, Window, read_text
from bitexport.evaluate.work import Work, manifest_digest
from bitexport.models.parts.options import Options
from bitexport.package.bundle import build_bundle
from bitexport.targets import find_target
from bitexport.tokenizer.text import load_tokenizer
from bitexport.verify.oracle import open_oracle

SAMPLES = Path(__file__).parents[3] / "samples"
MODELS = {
    "stories": SAMPLES / "stories" / "model",
    "falcon": SAMPLES / "families" / "falcon",
    "qwen": SAMPLES / "families" / "qwen",
}
"""Those that transformers opens as they lie here; tests/families has the others."""
HELD_OUT = SAMPLES / "stories" / "held-out.txt"
AGAINST_TRANSFORMERS = 1e-3  # relative, of perplexities: their int8 codes flip at ties, as ours do
TOKENS = 2048
CONTEXT = 256


def test_it_is_e_to_the_mean_over_all_predicted_tokens() -> None:
    nats = [np.array([1.0, 2.0, 4.0]), np.array([0.5])]
    texts = [
        Text("a", "", (1,), (5, 6, 7), (1, 1, 2)),
        Text("b", "", (1,), (5,), (3,)),
    ]
    heard: list[int] = []
    found = evaluate(texts, 8, lambda windows: enumerate(nats), heard.append)
    assert found.whole.nats_per_token == 7.5 / 4
    assert found.whole.perplexity == pytest.approx(math.exp(7.5 / 4), rel=1e-15)
    assert found.whole.bits_per_byte == 7.5 / math.log(2) / 7
    assert (found.whole.tokens, found.whole.predicted, found.whole.windows) == (4, 4, 2)
    first, second = found.texts
    assert (first.nats_per_token, second.nats_per_token) == (7 / 3, 0.5)
    assert (first.tokens, second.tokens) == (3, 1)
    assert heard == [3, 4]


def test_a_sum_is_rounded_once() -> None:
    nats = [np.array([1e16]), np.array([1.0]), np.array([1.0])]
    text = Text("t", "", (1,), (5, 6, 7), (1, 1, 1))
    found = evaluate([text], 2, lambda windows: enumerate(nats))
    assert found.whole.nats_per_token == (1e16 + 2) / 3
    assert found.whole.perplexity == math.inf


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", MODELS)
def test_transformers_gives_the_same_within_a_thousandth(name: str, tmp_path: Path) -> None:
    bundle = build_bundle(MODELS[name], find_target("host"), Options(), tmp_path / "bundle")
    oracle = open_oracle(MODELS[name])

    def theirs(window: Window) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        rows = oracle.logits(list(window.tokens[:-1]))[window.first - 1 :]
        return token_nats(rows.astype(np.float32), window.tokens[window.first :])

    text = read_text(HELD_OUT, load_tokenizer(bundle.path), 512, TOKENS)
    work = Work(
        bundle=str(bundle.path), manifest=manifest_digest(bundle.path), runtime="host",
        context=CONTEXT,
    )  # fmt: skip
    ours = evaluate([text], CONTEXT, partial(score_here, work)).whole
    oracles = evaluate([text], CONTEXT, lambda windows: enumerate(map(theirs, windows))).whole
    assert ours.predicted == oracles.predicted == TOKENS
    assert ours.perplexity == pytest.approx(oracles.perplexity, rel=AGAINST_TRANSFORMERS)
    assert 3 < ours.perplexity < 8
