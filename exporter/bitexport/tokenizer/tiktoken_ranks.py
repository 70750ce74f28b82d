"""Reads tiktoken's files of ranks: a line for each token, its bytes in base64 and its rank.

Such a file does not say how text is cut.  Two families ship one: LLaMA-3 as tokenizer.model, Qwen
as qwen.tiktoken; their patterns and special tokens are known.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
from collections.abc import Mapping

from bitexport.tokenizer.description import Added, Description, Kind, Pattern
from bitexport.tokenizer.known_patterns import LLAMA3, QWEN2
from bitexport.tokenizer.pattern import parse_pattern
from bitexport.tokenizer.refusal import damaged, refuse

LLAMA_FILE, QWEN_FILE = "tokenizer.model", "qwen.tiktoken"
LLAMA_NAMED = {
    0: "<|begin_of_text|>", 1: "<|end_of_text|>", 6: "<|start_header_id|>", 7: "<|end_header_id|>",
    9: "<|eot_id|>",
}  # fmt: skip
LLAMA_SPECIAL, QWEN_EXTRA = 256, 205


def is_ranks(data: bytes) -> bool:
    """Return whether a file's first line is a token and a rank."""
    words = data[:1024].split(b"\n", 1)[0].split()
    return len(words) == 2 and words[1] == b"0"  # noqa: PLR2004


def read_tiktoken(data: bytes, file: str) -> Description:
    """Return the tokenizer of the family that calls its ranks by this file name."""
    ranks = _ranks(data)
    first = max(ranks.values()) + 1
    if file == LLAMA_FILE:
        pattern, special = LLAMA3, _llama_special()
        prefix: tuple[int, ...] = (first,)
    elif file == QWEN_FILE:
        pattern, special = QWEN2, _qwen_special()
        prefix = ()
    else:
        refuse(f"is a file of ranks, `{file}`, that does not say how text is cut")
    plain = of_ranks(ranks, pattern)
    return dataclasses.replace(
        plain,
        nfc=file == QWEN_FILE,
        added=tuple(
            Added(token=first + at, content=content, control=True)
            for at, content in enumerate(special)
        ),
        prefix_tokens=prefix,
    )


def of_ranks(ranks: Mapping[bytes, int], pattern: str) -> Description:
    """Return a tokenizer without special tokens: any two neighbours that are a token merge."""
    merges = [
        (ranks[text[:cut]], ranks[text[cut:]], token)
        for text, token in ranks.items()
        for cut in range(1, len(text))
        if text[:cut] in ranks and text[cut:] in ranks
    ]
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        damaged(f"has no token for the byte {missing[0]:#04x}")
    return Description(
        kind=Kind.BYTES,
        tokens={token: text for text, token in ranks.items()},
        merges=tuple(sorted(merges, key=lambda each: (each[2], each))),
        token_ranks={token: token for token in ranks.values()},
        byte_tokens={byte: ranks[bytes([byte])] for byte in range(256)},
        whole=ranks,
        stages=(Pattern(parse_pattern(pattern), pattern),),
    )


def _ranks(data: bytes) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            text, rank = line.split()
            token = int(rank)
            spelled = base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            damaged(f"has no token and rank in line {number}")
        if spelled in found or not spelled:
            damaged(f"has the token {spelled!r} of line {number} twice")
        found[spelled] = token
    if sorted(found.values()) != list(range(len(found))):
        damaged("has ranks that are not 0 to the number of tokens")
    return found


def _llama_special() -> list[str]:
    reserved = iter(range(LLAMA_SPECIAL))
    return [
        LLAMA_NAMED[at] if at in LLAMA_NAMED else f"<|reserved_special_token_{next(reserved)}|>"
        for at in range(LLAMA_SPECIAL)
    ]


def _qwen_special() -> list[str]:
    extra = [f"<|extra_{number}|>" for number in range(QWEN_EXTRA)]
    return ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *extra]
