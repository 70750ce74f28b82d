"""A file of ranks gives the tokens that tiktoken gives; only families whose pattern is known."""

import base64
import random
from pathlib import Path

import pytest
import tiktoken
from tests.text.oracles import Tiktoken, compiled
from tests.text.parity import differing
from tests.text.strings import strings

from bitexport.errors import CheckpointError
from bitexport.tokenizer.find import find_description
from bitexport.tokenizer.known_patterns import LLAMA3, QWEN2
from bitexport.tokenizer.tiktoken_ranks import read_tiktoken

CORPUS = (Path(__file__).parents[3] / "samples/stories/held-out.txt").read_bytes()


def _ranks() -> dict[bytes, int]:
    """Return all bytes, then parts of stories, long and short: merges with many ways to a token."""
    rng = random.Random(29)
    ranks = {bytes([byte]): byte for byte in range(256)}
    for size in (2, 2, 3, 3, 4, 5, 8):
        for _ in range(150):
            start = rng.randrange(len(CORPUS) - size)
            ranks.setdefault(CORPUS[start : start + size], len(ranks))
    for text in (b"aa", b"aaa", b"aaaa", "\u00e9".encode(), "\u6771".encode()):
        ranks.setdefault(text, len(ranks))
    return ranks


def _file(ranks: dict[bytes, int]) -> bytes:
    return b"".join(base64.b64encode(text) + b" %d\n" % rank for text, rank in ranks.items())


@pytest.mark.parametrize(
    ("name", "pattern"), [("tokenizer.model", LLAMA3), ("qwen.tiktoken", QWEN2)]
)
def test_tokens_are_those_of_tiktoken(name: str, pattern: str, tmp_path: Path) -> None:
    ranks = _ranks()
    (tmp_path / name).write_bytes(_file(ranks))
    found = find_description(tmp_path, {})
    assert found is not None
    special = {added.content: added.token for added in found.added}
    ours = compiled(found)
    oracle = Tiktoken(
        tiktoken.Encoding("t", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special),
        ours.tables.prefix_tokens,
    )
    texts = [
        *strings(31, 2000, list(special)[:12]),
        "a" * 200,
        CORPUS[:9000].decode(errors="ignore"),
    ]
    same = [t for t in texts if not found.nfc or t.isascii()]  # tiktoken alone does not normalize
    assert differing(ours, oracle, same)[2] == 0


def test_special_tokens_of_the_families() -> None:
    llama = read_tiktoken(_file(_ranks()), "tokenizer.model")
    first = len(_ranks())
    names = {added.token - first: added.content for added in llama.added}
    assert names[0] == "<|begin_of_text|>"
    assert names[9] == "<|eot_id|>"
    assert names[10] == "<|reserved_special_token_5|>"
    assert names[255] == "<|reserved_special_token_250|>"
    assert llama.prefix_tokens == (first,)
    qwen = read_tiktoken(_file(_ranks()), "qwen.tiktoken")
    assert [added.content for added in qwen.added][:4] == [
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|extra_0|>",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "name", "why"),
    [
        (_file(_ranks()), "o200k.tiktoken", "does not say how text is cut"),
        (b"IQ== 0\nIg==\n", "qwen.tiktoken", "line 2"),
        (b"IQ== 0\nIQ== 1\n", "qwen.tiktoken", "line 2 twice"),
        (b"IQ== 0\nIg== 5\n", "qwen.tiktoken", "ranks that are not"),
        (b"IQ== 0\nIg== 1\n", "qwen.tiktoken", "no token for the byte 0x00"),
    ],
)
def test_other_files_are_refused(data: bytes, name: str, why: str) -> None:
    with pytest.raises(CheckpointError, match=why):
        read_tiktoken(data, name)
