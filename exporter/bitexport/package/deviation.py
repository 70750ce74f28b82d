"""How far the logits of a graph in stock onnxruntime are from those of the reference."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitexport.models.parts.facts import Facts
from bitexport.tokenizer.text import fixed_tokens
from bitexport_ref.evaluator import ReferenceModel
from bitexport_ref.text.tokenizer import Tokenizer

SAMPLE = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. She wanted to play with it, but it was too high. Her mom "
    "said that they could ask a friend to help."
)
MOST_TOKENS = 64
RUNNER = Path(__file__).with_name("stock_run.py")


class StockError(Exception):
    """The onnxruntime that is installed cannot load or run a graph."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deviation:
    """Over all positions of the sample; KL in nats per token, of theirs from the reference."""

    tokens: int
    positions_equal: int
    """Positions of which every logit has the reference's bits."""
    max_abs: float
    max_relative: float
    """Of the largest logit of the position."""
    mean_kl: float
    max_kl: float
    same_choice: int
    """Positions at which greedy choice takes the same token."""
    runtime: str

    def __str__(self) -> str:
        """Return it as a sentence."""
        return (
            f"mean KL {self.mean_kl:.2e} nats, at most {self.max_kl:.2e}; logits differ by at most "
            f"{self.max_abs:.2e}; same greedy token at {self.same_choice} of {self.tokens} "
            f"positions ({self.runtime})"
        )


def stock_version() -> str:
    """Return the version of onnxruntime that is installed."""
    return version("onnxruntime")


def sample_tokens(tokenizer: Tokenizer | None, facts: Facts) -> list[int]:
    """Return the tokens that deviation is measured on."""
    whole = tokenizer.encode(SAMPLE) if tokenizer else fixed_tokens(facts.vocabulary, facts.bos)
    return list(whole[: min(MOST_TOKENS, facts.context)])


def reference_logits(model: ReferenceModel, tokens: Sequence[int]) -> NDArray[np.float32]:
    """Return the logits (tokens, vocabulary) of the reference."""
    return model.session().run(np.asarray(tokens, np.int32), trace=False).logits


def stock_logits(graph: Path, tokens: Sequence[int], vocabulary: int) -> NDArray[np.float32]:
    """Return the logits (tokens, vocabulary) that onnxruntime computes, all tokens in one call."""
    with tempfile.TemporaryDirectory() as name:
        given, made = Path(name, "tokens"), Path(name, "logits")
        np.asarray(tokens, "<i4").tofile(given)
        command = [sys.executable, "-P", str(RUNNER), str(graph), str(given), str(made)]
        quiet = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise StockError(f"onnxruntime {stock_version()} does not run it: {last}")
        return np.fromfile(made, "<f4").reshape(len(tokens), vocabulary)


def deviation(found: NDArray[np.float32], expected: NDArray[np.float32]) -> Deviation:
    """Compare logits (tokens, vocabulary) with those of the reference."""
    theirs, ours = log_softmax(found), log_softmax(expected)
    divergence = (np.exp(ours) * (ours - theirs)).sum(axis=1)
    away = np.abs(found.astype(np.float64) - expected.astype(np.float64)).max(axis=1)
    largest = np.abs(expected.astype(np.float64)).max(axis=1)
    equal = (found.view(np.uint32) == expected.view(np.uint32)).all(axis=1)
    return Deviation(
        tokens=len(expected), positions_equal=int(equal.sum()), max_abs=float(away.max()),
        max_relative=float((away / largest).max()), mean_kl=float(divergence.mean()),
        max_kl=float(divergence.max()),
        same_choice=int((found.argmax(axis=1) == expected.argmax(axis=1)).sum()),
        runtime=f"onnxruntime {stock_version()}",
    )  # fmt: skip


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the logarithms of what softmax gives, row by row, in float64."""
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
