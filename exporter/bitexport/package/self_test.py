"""The self-test that travels in the file: which tokens, and what the reference computes for them.

A device runs P + G - 1 positions, the reference one call for the prompt and G - 1 for the rest,
each a pass over all weights.  G is 16; above 134 million weights it shrinks so that the passes read
about 2^31 weights, down to 2.  The prompt is a sentence, cut to 2 G tokens and to the context.
"""

from __future__ import annotations

import dataclasses
import itertools
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import bitexport_ref.evaluator
import bitexport_ref.self_test
from bitexport.errors import CheckpointError
from bitexport.models.parts.facts import Facts
from bitexport.models.parts.stored import StoredMatrix
from bitexport.progress import Advance
from bitexport.tokenizer.text import fixed_tokens
from bitexport_ref.digests import START, extend, printed
from bitexport_ref.errors import ReferenceFailure
from bitexport_ref.text.tokenizer import Tokenizer

PROMPT = "Once upon a time, there was a little"
MOST_TOKENS, LEAST_TOKENS = 16, 2
MOST_WEIGHTS = 1 << 31  # that all passes together read, unless LEAST_TOKENS asks for more
UNPACKED_BYTES = 64 << 20
NETWORK_SAMPLES = 3
NETWORK_SEED = 104729


@dataclasses.dataclass(frozen=True)
class SelfTestTokens:
    """P tokens of prompt, and how many are generated after them."""

    prompt: tuple[int, ...]
    generated: int


def self_test_tokens(
    tokenizer: Tokenizer | None, facts: Facts, tensors: Mapping[str, StoredMatrix]
) -> SelfTestTokens:
    """Choose the tokens for a model; fixed ones when it has no tokenizer."""
    weights = sum(stored.matrix.rows * stored.matrix.columns for stored in tensors.values())
    generated = max(LEAST_TOKENS, min(MOST_TOKENS, MOST_WEIGHTS // weights))
    generated = max(1, min(generated, facts.context // 2))
    whole = tokenizer.encode(PROMPT) if tokenizer else fixed_tokens(facts.vocabulary, facts.bos)
    prompt = whole[: max(1, min(2 * generated, facts.context - generated))]
    return SelfTestTokens(tuple(prompt), generated)


def self_test_section(graph: Path, tokens: SelfTestTokens, advance: Advance) -> bytes:
    """Return section 3.8 of FORMAT.md, computed by the reference.

    `advance` is told how many op outputs are done, of those of all G runs.
    """
    done = itertools.count(1)
    try:
        model = bitexport_ref.evaluator.load(graph, unpacked_bytes=UNPACKED_BYTES)
        expected = bitexport_ref.self_test.compute(
            model, tokens.prompt, tokens.generated, visit=lambda _: advance(next(done))
        )
    except ReferenceFailure as error:
        raise CheckpointError(
            f"the reference cannot run this model: {error}",
            hint="a weight is out of range, or the prompt drives the model out of it",
        ) from error
    ids = (*expected.prompt, *expected.generated)
    head = (len(expected.prompt), len(expected.generated), len(expected.chains), 0)
    chains = (expected.logits_chain, *expected.chains)
    return struct.pack(f"<{4 + len(ids)}I", *head, *ids) + b"".join(map(printed, chains))


def network_test_section(graph: Path, advance: Advance) -> bytes:
    """Return section 3.8 of FORMAT.md for a network: samples, and what the reference makes of them.

    A sample has numbers of a normal distribution, the first alone zeros.
    """
    draw = np.random.Generator(np.random.Philox(NETWORK_SEED))
    done = itertools.count(1)
    try:
        model = bitexport_ref.evaluator.load(graph, unpacked_bytes=UNPACKED_BYTES)
        chains: dict[str, bytes] = {name: START for name, _ in model.plan}
        samples = []
        for at in range(NETWORK_SAMPLES):
            sample = {}
            for given in model.graph.inputs:
                shape = tuple(size or 1 for size in given.shape)
                numbers = draw.standard_normal(shape) * bool(at)
                sample[given.name] = numbers.astype(given.dtype)
                samples.append(sample[given.name].tobytes())
            for traced in model.trace_network(sample)[1]:
                chains[traced.name] = extend(chains[traced.name], traced.rows)
                advance(next(done))
    except ReferenceFailure as error:
        raise CheckpointError(
            f"the reference cannot run this network: {error}",
            hint="a weight is out of range, or small numbers drive the network out of it",
        ) from error
    head = struct.pack("<4I", NETWORK_SAMPLES, 0, len(chains), 0)
    return head + b"".join(samples) + b"".join(map(printed, chains.values()))
