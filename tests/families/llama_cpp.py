"""llama.cpp, through the package `xllamacpp`: what it makes of a GGUF file."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray


def next_token_chances(
    path: Path, prompts: Sequence[Sequence[int]], vocabulary: int
) -> NDArray[np.float64]:
    """Return log probabilities [prompts, vocabulary] of what follows each prompt."""
    if platform.machine() != "x86_64":
        pytest.skip("optional: xllamacpp is installed on x86-64 alone")
    xllamacpp = importlib.import_module("xllamacpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx, parameters.n_parallel = 256, 1
    parameters.cpuparams.n_threads = 1
    parameters.warmup = False
    parameters.verbosity = -1
    server = xllamacpp.Server(parameters)
    found = np.full((len(prompts), vocabulary), -np.inf)
    for row, prompt in zip(found, prompts, strict=True):
        said = server.handle_completions(
            {"prompt": list(prompt), "max_tokens": 1, "temperature": 0, "logprobs": vocabulary,
             "n_probs": vocabulary, "cache_prompt": False, "stream": False}
        )  # fmt: skip
        (choice,) = said["choices"]
        for entry in choice["logprobs"]["content"][0]["top_logprobs"]:
            row[entry["id"]] = entry["logprob"]
    assert np.isfinite(found).all(), "llama.cpp left tokens out"
    return found
