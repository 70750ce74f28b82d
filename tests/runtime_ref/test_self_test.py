"""self_test: the vectors are those that a device computes one token at a time."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.digests import START, extend, extend_all
from bitexport_ref.errors import BadOperand
from bitexport_ref.evaluator import greedy, load
from bitexport_ref.self_test import compute


@pytest.mark.parametrize("generated", [1, 6])
def test_the_vectors_are_those_of_decoding_one_by_one(generated, language_model):
    model = load(language_model())
    prompt = [3, 1, 4]
    expected = compute(model, prompt, generated)
    assert expected.prompt == (3, 1, 4)
    assert len(expected.generated) == generated
    tokens = [*expected.prompt, *expected.generated]
    session = model.session()
    chains: list[bytes] = []
    logits_chain = START
    for position in range(len(tokens) - 1):
        outputs = session.run(np.array([tokens[position]], np.int32))
        chains = extend_all(chains, outputs.trace)
        logits_chain = extend(logits_chain, outputs.logits)
        if position >= len(prompt) - 1:
            assert greedy(outputs.logits[0]) == tokens[position + 1]
    assert expected.chains == tuple(chains)
    assert expected.logits_chain == logits_chain
    assert len(chains) == len(model.plan)


@pytest.mark.parametrize(("prompt", "generated"), [([], 1), ([1], 0)])
def test_a_self_test_of_nothing_is_refused(prompt, generated, language_model):
    with pytest.raises(BadOperand, match="needs a prompt"):
        compute(load(language_model()), prompt, generated)
