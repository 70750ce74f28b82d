"""Sets of characters are those of the models' own tokenizers, over all code points."""

import pytest
import tiktoken
from tokenizers import Regex, normalizers, pre_tokenizers

from bitexport.tokenizer.characters import (
    Characters,
    numeric,
    of_category,
    of_text,
    punctuation,
    white_space,
)
from bitexport.tokenizer.pattern import One, parse_pattern

EVERY = "".join(chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000)
PATTERNS = (
    r"\p{L}",
    r"\p{N}",
    r"\p{P}",
    r"\p{S}",
    r"\p{M}",
    r"\p{Lu}",
    r"\p{Ll}",
    r"\p{Lt}",
    r"\p{Lm}",
    r"\p{Lo}",
    r"\s",
    r"\d",
    r"\p{Z}",
    r"(?i:s)",
    r"(?i:k)",
    r"(?i:t)",
    r"[^\s\p{L}]",
)


def _set(pattern: str) -> Characters:
    node = parse_pattern(pattern)
    assert isinstance(node, One)
    return node.characters


def _without_surrogates(characters: Characters) -> Characters:
    found = characters.copy()
    found[0xD800:0xE000] = False
    return found


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_class_is_that_of_tokenizers(pattern: str) -> None:
    left = normalizers.Replace(Regex(pattern), "").normalize_str(EVERY)
    expected = of_text(EVERY) & ~of_text(left)
    assert (_without_surrogates(_set(pattern)) == expected).all()


@pytest.mark.parametrize("pattern", [r"\p{L}", r"\p{N}", r"\s", r"\p{Lu}"])
def test_a_class_is_that_of_tiktoken(pattern: str) -> None:
    ranks = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding("t", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    matched = encoding.decode_bytes(encoding.encode_ordinary(EVERY)).decode()
    assert (_without_surrogates(_set(pattern)) == of_text(matched)).all()


@pytest.mark.parametrize(
    ("characters", "pre_tokenizer"),
    [
        (numeric(), pre_tokenizers.Digits(individual_digits=True)),
        (punctuation(), pre_tokenizers.Punctuation("isolated")),
    ],
    ids=["digits", "punctuation"],
)
def test_a_pre_tokenizer_splits_at_the_same_characters(
    characters: Characters, pre_tokenizer: pre_tokenizers.PreTokenizer
) -> None:
    letters = f"a{'a'.join(EVERY)}a"
    pieces = [piece for piece, _ in pre_tokenizer.pre_tokenize_str(letters)]
    alone = of_text("".join(piece for piece in pieces if len(piece) == 1 and piece != "a"))
    assert (_without_surrogates(characters) == alone).all()


def test_spaces_are_what_strip_takes_away() -> None:
    strip = normalizers.Strip()
    spaces = "".join(c for c in EVERY if strip.normalize_str(f"a{c}") == "a")
    assert (white_space() == of_text(spaces)).all()


def test_an_unknown_category_is_none() -> None:
    assert of_category("X") is None
    assert of_category("") is None
