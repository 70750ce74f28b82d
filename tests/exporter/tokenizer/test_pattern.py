"""A compiled pattern cuts a text where the models' own matchers do."""

import dataclasses
import re

import numpy as np
import pytest
import tiktoken
from numpy.typing import NDArray
from tests.text.oracles import compiled
from tests.text.strings import strings
from tokenizers import Regex, pre_tokenizers

from bitexport.errors import CheckpointError
from bitexport.tokenizer.automaton import always_matches, compile_pattern, partition, sets_of
from bitexport.tokenizer.byte_alphabet import CHARACTER_OF
from bitexport.tokenizer.byte_level import byte_level
from bitexport.tokenizer.description import Pattern
from bitexport.tokenizer.known_patterns import (
    DEEPSEEK_CJK,
    DEEPSEEK_LLM_LETTERS,
    DEEPSEEK_LLM_SIGNS,
    DEEPSEEK_V3,
    GPT2,
    GPT4O,
    LLAMA3,
    QWEN2,
)
from bitexport.tokenizer.pattern import Dialect, parse_pattern

BYTES = byte_level({character: byte for byte, character in CHARACTER_OF.items()}, [], False)
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
SMALL = (
    "a",
    "ab|a",
    "a|ab",
    "a+b?",
    "a+?b?",
    "(?:ab)+",
    "(?:a|ab)(?:c|bcd)?d?",
    "[a-c]{2,3}",
    "a{2}",
    "a{,2}b",
    r"a(?=b)",
    r"a(?!b)|b+",
    r"\s+(?!\S)|\s",
    r"x(?i:aB)y|(?i:k)",
    r"\d{2}+",
    r"a$|b",
    r"(?:a??b)+c?",
    r"[^\n]+|\n$",
    r"[\x41-\u0043\]\-]",
    r"\p{^L}",
    r"[\P{L}]",
    ".a",
    "[a-]",
    "[]a]",
    r"(?:a{0,3}b|a)",
)
TEXTS = [
    "",
    "aab abcd abcbcd aaab",
    "1234567 ab",
    "xABy xaby xAB KkK",
    "a\nb a\n b\n\n",
    "bca-]CAB",
    "ba\na",
]


def _compile(pattern: str) -> NDArray[np.uint16]:
    node = parse_pattern(pattern)
    return compile_pattern(node, partition(list(sets_of(node))), pattern)


def _pieces(pattern: str, text: str, dialect: Dialect = Dialect.ONIGURUMA) -> list[str]:
    tokenizer = _tokenizer(pattern, dialect)
    return list(tokenizer._pieces(text)) if text else []  # what is cut, before bytes


_cache: dict[tuple[str, Dialect], object] = {}


def _tokenizer(pattern: str, dialect: Dialect):  # type: ignore[no-untyped-def]
    if (pattern, dialect) not in _cache:
        stage = Pattern(parse_pattern(pattern, dialect), pattern)
        _cache[pattern, dialect] = compiled(dataclasses.replace(BYTES, stages=(stage,))).tokenizer
    return _cache[pattern, dialect]


@pytest.mark.parametrize(
    "pattern",
    [
        GPT2,
        LLAMA3,
        QWEN2,
        GPT4O,
        DEEPSEEK_LLM_LETTERS,
        DEEPSEEK_LLM_SIGNS,
        DEEPSEEK_CJK,
        DEEPSEEK_V3,
    ],
)
def test_the_patterns_of_families_cut_as_tokenizers_does(pattern: str) -> None:
    oracle = pre_tokenizers.Split(Regex(pattern), "isolated")
    for text in strings(1, 1500):
        assert _pieces(pattern, text) == [piece for piece, _ in oracle.pre_tokenize_str(text)], text


@pytest.mark.parametrize("pattern", SMALL)
def test_each_construct_cuts_as_tokenizers_does(pattern: str) -> None:
    oracle = pre_tokenizers.Split(Regex(pattern), "isolated")
    for text in TEXTS:
        expected = [piece for piece, _ in oracle.pre_tokenize_str(text)]
        assert _pieces(pattern, text) == expected, text


@pytest.mark.parametrize("pattern", [CL100K, LLAMA3])
def test_patterns_cut_as_tiktoken_does(pattern: str) -> None:
    ranks = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding("t", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    for text in strings(2, 1500):
        matched = _pieces(pattern, text, Dialect.RUST)
        assert "".join(matched) == encoding.decode(encoding.encode_ordinary(text))


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"\b", "`\\b`"),
        (r"(?<=a)b", "`(?<`"),
        (r"^a", "`^`"),
        (r"\p{Han}", "the property `Han`"),
        (r"[[:alpha:]]", "a class in a class"),
        (r"[a&&b]", "a class in a class"),
        (r"(a", "`(` without `)`"),
        (r"a)", "`)` without `(`"),
        (r"(?=ab)c", "a look ahead at more than one character"),
        (r"(?i:é)", "beyond ASCII"),
        (r"(?i:ss)", "a single letter may stand for"),
        (r"a{2,1}", "`{2,1}`"),
        (r"a{1}?", "`}?`"),
        (r"[b-a]", "runs backwards"),
        (r"[\s-a]", "between sets"),
        ("[a", "too soon"),
        (r"\xzz", "`\\xzz`"),
        (r"(?!a)+", "a repeated look ahead"),
        ("*a", "`*`"),
        (r"\p", "too soon"),
        ("a*", "matches the empty text"),
        (r"\s+$", "read on without bound"),
        ("a+b", "read on without bound"),
        ("a++ab", "possessive"),
        ("(?:ab)?+a", "possessive"),
    ],
)
def test_what_is_beyond_the_subset_is_refused_by_name(pattern: str, why: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(why)):
        _compile(pattern)


@pytest.mark.parametrize(
    ("pattern", "holds"),
    [
        (".|\\n", True),
        (GPT2, True),
        ("a", False),
        (r"\s+(?!\S)|[^x]", False),
        (r"\s+(?!\S)|\s|\S", True),
    ],
)
def test_gaps_between_matches_are_known(pattern: str, holds: bool) -> None:
    assert always_matches(_compile(pattern)) == holds
