"""A text of the tiny model, and what a worker needs to score it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.tiny_checkpoint import WORDS

from bitexport.emit.manifest import Bundle
from bitexport.evaluate.windows import Text, tokenize
from bitexport.evaluate.work import Runtime, Work, manifest_digest
from bitexport.tokenizer.text import load_tokenizer

CONTEXT = 24


def work_of(bundle: Path, runtime: Runtime, *, checked: bool = False) -> Work:
    """Return what a worker must know of a bundle."""
    return Work(
        bundle=str(bundle), manifest=manifest_digest(bundle), runtime=runtime, context=CONTEXT,
        checked=checked,
    )  # fmt: skip


@pytest.fixture(scope="session")
def words() -> str:
    """Return a text of 100 words that the tiny tokenizer knows."""
    return " ".join(random.Random(5).choices(WORDS, k=100))


@pytest.fixture(scope="session")
def text(host_bundle: Bundle, words: str) -> Text:
    """Return the same as tokens of the tiny model."""
    return tokenize("t", words, load_tokenizer(host_bundle.path), 96)


@pytest.fixture(scope="session")
def reference_work(host_bundle: Bundle) -> Work:
    """Return work for the reference."""
    return work_of(host_bundle.path, "reference")


@pytest.fixture(scope="session")
def host_work(host_bundle: Bundle) -> Work:
    """Return work for the runtime of this machine."""
    return work_of(host_bundle.path, "host")
