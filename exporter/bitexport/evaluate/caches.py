"""What each form of the KV cache costs: KL of the model's answers to those with a cache of f32.

The same graph with each kind of cache runs in the reference, on the same windows of the same text.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np

from bitexport.emit.manifest import Bundle
from bitexport.evaluate.likelihood import F32, F64, divergence
from bitexport.evaluate.perplexity import MOST_CONTEXT
from bitexport.evaluate.sample import advice, needed_tokenizer, read_sample
from bitexport.evaluate.windows import Window
from bitexport.evaluate.work import Reference
from bitexport.models.parts.options import Cache, Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.progress import Progress
from bitexport.targets import find_target

EXACT: Cache = "f32"
"""What keys and values are before anything is rounded."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheCost:
    """One form of the cache, beside f32."""

    kl: float
    """KL(f32 || this), the mean over positions, in nats."""
    same_choice: float
    """At how many of the positions the largest logit is that of the same token."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheCosts:
    """Every form of the cache, and on what they were measured."""

    text: str
    text_sha256: str
    tokens: int
    context: int
    caches: Mapping[Cache, CacheCost]

    def __str__(self) -> str:
        """Say it in a sentence."""
        each = ", ".join(
            f"{name} {cost.kl:.2e} (the same token {cost.same_choice:.2%})"
            for name, cost in self.caches.items()
        )
        return (
            f"--measure-cache: KL to a cache of {EXACT}, nats a token: {each}; on {self.tokens} "
            f"tokens of {self.text}{advice(self.text)}"
        )


def measure_caches(
    checkpoint: Path, options: Options, text: Path | None, progress: Progress
) -> CacheCosts:
    """Run the model with each kind of cache on a text, or on the built-in passage."""
    tokenizer = needed_tokenizer(checkpoint, "--measure-cache")
    with tempfile.TemporaryDirectory(prefix="bitexport-") as scratch:
        progress.say("--measure-cache: the model with each kind of cache")
        twins = {
            cache: _twin(checkpoint, dataclasses.replace(options, cache=cache), Path(scratch))
            for cache in get_args(Cache)
        }
        model = twins[EXACT].manifest["model"]
        context = min(int(model["context"]), MOST_CONTEXT)
        read = read_sample(text, tokenizer, int(model["vocabulary"]))
        windows = read.windows(context)
        total = sum(len(window.tokens) for window in windows)
        references = {cache: Reference(twin.graph) for cache, twin in twins.items()}
        others = [cache for cache in references if cache != EXACT]
        kls: dict[Cache, list[F64]] = {cache: [] for cache in others}
        same: dict[Cache, list[np.bool_]] = {cache: [] for cache in others}
        with progress.stage("caches", total, "tokens") as advance:
            done = 0
            for window in windows:
                exact = _logits(references[EXACT], window)
                for cache in others:
                    found = _logits(references[cache], window)
                    kls[cache].append(divergence(exact, found))
                    same[cache].extend(exact.argmax(-1) == found.argmax(-1))
                done += len(window.tokens)
                advance(done)
    return CacheCosts(
        text=read.name, text_sha256=read.sha256, tokens=total, context=context,
        caches={
            cache: CacheCost(
                kl=float(np.concatenate(kls[cache]).mean()), same_choice=float(np.mean(same[cache]))
            )
            for cache in others
        },
    )  # fmt: skip


def _twin(checkpoint: Path, options: Options, folder: Path) -> Bundle:
    wanted = Wanted(compile_library=False, self_test=False)
    return build_bundle(checkpoint, find_target("host"), options, folder / options.cache, wanted)


def _logits(model: Reference, window: Window) -> F32:
    return np.concatenate(list(model.logits(window.tokens)))
