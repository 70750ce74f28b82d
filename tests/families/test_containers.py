"""The writers are right themselves: the `gguf` package, llama.cpp and transformers read them."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from samples.families import gguf_file
from tests.families.containers import (
    GROUPS,
    PACKERS,
    Block,
    dressed,
    write_gguf,
    write_masters_bf16,
    write_packed_multiply,
    write_projection_norms,
)
from tests.families.llama_cpp import next_token_chances
from tests.families.trained import HELD_OUT, STORIES, absmean, read_gguf, trained, unpacked
from tokenizers import Tokenizer

from bitexport.verify.oracle import open_oracle

# What torch deprecates of itself while it is imported is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

LENGTHS = (5, 20, 60, 120)
ROUNDING = 2e-3
"""Nats that llama.cpp may differ by: it rounds activations to int8 in blocks of 32 or 256."""


def story() -> list[int]:
    text = HELD_OUT.read_text(encoding="utf-8").split("\n\n")[0]
    return list(Tokenizer.from_file(str(STORIES / "tokenizer.json")).encode(text).ids)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@pytest.mark.parametrize("block", ["TQ1_0", "TQ2_0"])
def test_the_gguf_package_packs_the_same_bytes(block: Block) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(-1, 2, (6, 512)).astype(np.int8)
    scales = rng.uniform(0.5, 2, (6, 2)).astype(np.float16)
    dense = values * np.repeat(scales.astype(np.float32), 256, 1)
    stored = PACKERS[block](values, scales)
    kind = gguf.GGMLQuantizationType[block]
    assert gguf.quants.quantize(dense, kind).tobytes() == stored.data
    assert int(kind) == stored.type_number


@pytest.mark.parametrize("block", ["TQ2_0", "Q1_0", "PQ2_0"])
def test_what_samples_are_stored_in_is_read_back(block: Block) -> None:
    rng = np.random.default_rng(1)
    choices = [-1, 1] if block == "Q1_0" else [-1, 0, 1]
    values = rng.choice(choices, (4, 512)).astype(np.int8)
    scales = rng.uniform(0.5, 2, (4, 512 // GROUPS[block])).astype(np.float16)
    found = unpacked(PACKERS[block](values, scales))
    assert np.array_equal(found.values, values)
    assert np.array_equal(found.scales, scales)


def test_the_gguf_package_reads_the_file(tmp_path: Path) -> None:
    path = write_gguf("llama", "TQ2_0")(trained("trilm"), tmp_path)
    read = gguf.GGUFReader(path)
    metadata, tensors = read_gguf(path)
    assert read.get_field("general.architecture").contents() == "llama"
    assert read.get_field("llama.rope.freq_base").contents() == metadata["llama.rope.freq_base"]
    assert {tensor.name for tensor in read.tensors} == tensors.keys()
    for tensor in read.tensors:
        assert tuple(reversed(tensor.shape)) == tensors[tensor.name].shape
        assert tensor.data.tobytes() == tensors[tensor.name].data


def test_masters_round_to_the_trits_that_they_dress() -> None:
    for matrix in trained("stories").low_bit.values():
        found = absmean(dressed(matrix, 3))
        assert np.array_equal(found.values, matrix.values)
        assert abs(found.scale / matrix.scale - 1) < 0.01


@pytest.mark.parametrize(
    ("model", "arch", "block"),
    [("trilm", "llama", "TQ1_0"), ("trilm", "llama", "TQ2_0"), ("onebit", "bitnet", "TQ2_0"),
     ("bonsai-binary", "qwen3", "Q1_0"), ("bonsai-ternary", "qwen3", "Q2_0")],
)  # fmt: skip
def test_llama_cpp_computes_what_the_oracle_does(
    model: str, arch: str, block: Block, tmp_path: Path
) -> None:
    path = write_gguf(arch, block)(trained(model), tmp_path)
    prompts = [story()[:length] for length in LENGTHS]
    oracle = open_oracle(path)
    ours = log_softmax(np.stack([oracle.logits(prompt)[-1] for prompt in prompts]))
    theirs = next_token_chances(path, prompts, ours.shape[1])
    assert ((np.exp(ours) * (ours - theirs)).sum(-1) < ROUNDING).all()


def test_rows_of_q_and_k_that_are_not_permuted_are_another_model(tmp_path: Path) -> None:
    model = trained("trilm")
    right = write_gguf("llama", "TQ2_0")(model, tmp_path / "right")
    metadata, tensors = read_gguf(right)
    for name, tensor in tensors.items():
        if name.endswith(("attn_q.weight", "attn_k.weight")):
            matrix = unpacked(tensor)
            heads = model.config["num_attention_heads"]
            again = gguf_file.interleaved(matrix.values, heads)
            scales = gguf_file.interleaved(matrix.scales, heads).astype(np.float16)
            tensors[name] = gguf_file.pack_tq2_0(again, scales)
    wrong = tmp_path / "wrong.gguf"
    gguf_file.write_gguf(wrong, metadata, tensors)
    ours, theirs = (log_softmax(open_oracle(path).logits(story())) for path in (right, wrong))
    assert (np.exp(ours) * (ours - theirs)).sum(-1).mean() > 0.05


@pytest.mark.parametrize("write", [write_masters_bf16, write_projection_norms])
def test_another_form_of_the_stories_still_tells_them(write, tmp_path: Path) -> None:
    tokens = story()
    expected = open_oracle(write_packed_multiply(trained("stories"), tmp_path / "packed"))
    found = open_oracle(write(trained("stories"), tmp_path / "other"))
    ours, theirs = (log_softmax(each.logits(tokens)) for each in (expected, found))
    assert (np.exp(ours) * (ours - theirs)).sum(-1).mean() < 0.02
