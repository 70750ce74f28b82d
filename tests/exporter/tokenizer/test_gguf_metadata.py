"""GGUF metadata gives the tokens of the models' own tokenizers: llama.cpp's vectors, and more."""

import json
import lzma
import re
from pathlib import Path
from typing import Any

import pytest
from tests.text.oracles import compiled, of_gguf
from tests.text.parity import differing
from tests.text.strings import strings

from bitexport.checkpoints.gguf_file import read_file
from bitexport.errors import CheckpointError
from bitexport.tokenizer.gguf_metadata import read_gguf_tokenizer
from bitexport.tokenizer.known_patterns import NAMES, manner

DATA = Path(__file__).parent / "data"
SAMPLES = Path(__file__).parents[3] / "samples"
SEPARATOR = "\n__ggml_vocab_test__\n"


def _metadata(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lzma.decompress((DATA / f"{name}.json.xz").read_bytes()))
    return found


@pytest.mark.parametrize("name", ["gpt-2", "falcon"])
def test_vectors_of_llama_cpp_and_random_strings(name: str) -> None:
    metadata = _metadata(name)
    description = read_gguf_tokenizer(metadata)
    assert description is not None
    ours = compiled(description)
    texts = (DATA / f"{name}.inp").read_bytes().decode().split(SEPARATOR)
    for text, line in zip(texts, (DATA / f"{name}.out").read_text().split("\n"), strict=True):
        assert list(ours.tokenizer.encode(text, bare=True)) == [int(word) for word in line.split()]
    numbers = ["\U000111fe\U000bd08f", "\u2153\U000b2000\x03\xbd", "1\U000b9123"]
    assert differing(ours, of_gguf(metadata), [*numbers, *strings(17, 1500)])[2] == 0


def test_scored_pieces_of_a_sample() -> None:
    metadata = read_file(SAMPLES / "families" / "trilm" / "model.gguf").metadata
    description = read_gguf_tokenizer(metadata)
    assert description is not None
    assert description.token_ranks is not None
    assert differing(compiled(description), of_gguf(metadata), strings(19, 3000))[2] == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_known_manner_compiles(name: str) -> None:
    own = "falcon" if name == "falcon" else "gpt-2"
    found = read_gguf_tokenizer(_metadata(own) | {"tokenizer.ggml.pre": name})
    family = manner(name)
    assert found is not None
    assert family is not None
    assert len(compiled(found).tables.stages) >= len(family.stages)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tokenizer.ggml.pre": "kimi-k2"}, "cuts text as `kimi-k2` does"),
        ({"tokenizer.ggml.pre": "default"}, "cuts text as `default` does"),
        ({"tokenizer.ggml.pre": None}, "does not say how it cuts text"),
        ({"tokenizer.ggml.model": "bert"}, "is of the model `bert`"),
        ({"tokenizer.ggml.model": "t5"}, "is of the model `t5`"),
        ({"tokenizer.ggml.tokens": None}, "has `tokenizer.ggml.model` and no"),
        ({"tokenizer.ggml.merges": None}, "has no `tokenizer.ggml.merges`"),
        ({"tokenizer.ggml.merges": ["a zzzz"]}, "has no token `zzzz`"),
        ({"tokenizer.ggml.token_type": [1]}, "kinds of tokens"),
        ({"tokenizer.ggml.token_type": [9] * 50257}, "a token of kind 9"),
        ({"tokenizer.ggml.model": "llama"}, "pieces without scores"),
        (
            {"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": None},
            "does not say which",
        ),
        ({"tokenizer.ggml.add_space_prefix": True}, "puts a space before a text of bytes"),
    ],
)
def test_what_is_not_known_is_refused_by_name(changes: dict[str, Any], why: str) -> None:
    metadata = {k: v for k, v in (_metadata("gpt-2") | changes).items() if v is not None}
    with pytest.raises(CheckpointError, match=re.escape(why)):
        read_gguf_tokenizer(metadata)


def test_metadata_without_tokenizer_has_none() -> None:
    assert read_gguf_tokenizer({}) is None
