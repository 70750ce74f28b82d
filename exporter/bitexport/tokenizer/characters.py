r"""Sets of characters, by the Unicode version that the models' own tokenizers use.

Over all code points, \p of Hugging Face tokenizers 0.23 (Oniguruma) and of tiktoken 0.14 (Rust's
regex) is Unicode 16.0.  Where tokenizers follows another version the difference is written here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
import unicodedata2
from numpy.typing import NDArray

CODE_POINTS = 0x110000
UNICODE = (16, 0, 0)
CATEGORIES = (
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi",
    "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn",
)  # fmt: skip
WHITE_SPACE = (
    (0x9, 0xD), (0x20, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A),
    (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000),
)  # fmt: skip
# The Digits pre-tokenizer asks Rust's char::is_numeric, which is of Unicode 17.
NUMERIC_SINCE_16 = ((0x11DE0, 0x11DE9), (0x16FF4, 0x16FF6))
# The Punctuation pre-tokenizer takes ASCII's, and category P of the crate unicode_categories 0.1.
ASCII_PUNCTUATION = ((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E))
PUNCTUATION_BEFORE_16 = ((0x166D, 0x166D), (0x111C9, 0x111C9))
PUNCTUATION_UP_TO_16 = (
    (0x61D, 0x61D), (0x9FD, 0x9FD), (0xA76, 0xA76), (0xC77, 0xC77), (0xC84, 0xC84),
    (0x1B4E, 0x1B4F), (0x1B7D, 0x1B7F), (0x2E43, 0x2E4F), (0x2E52, 0x2E5D), (0x10D6E, 0x10D6E),
    (0x10EAD, 0x10EAD), (0x10F55, 0x10F59), (0x10F86, 0x10F89), (0x113D4, 0x113D5),
    (0x113D7, 0x113D8), (0x1144B, 0x1144F), (0x1145A, 0x1145B), (0x1145D, 0x1145D),
    (0x11660, 0x1166C), (0x116B9, 0x116B9), (0x1183B, 0x1183B), (0x11944, 0x11946),
    (0x119E2, 0x119E2), (0x11A3F, 0x11A46), (0x11A9A, 0x11A9C), (0x11A9E, 0x11AA2),
    (0x11B00, 0x11B09), (0x11BE1, 0x11BE1), (0x11C41, 0x11C45), (0x11C70, 0x11C71),
    (0x11EF7, 0x11EF8), (0x11F43, 0x11F4F), (0x11FFF, 0x11FFF), (0x12FF1, 0x12FF2),
    (0x16D6D, 0x16D6F), (0x16E97, 0x16E9A), (0x16FE2, 0x16FE2), (0x1E5FF, 0x1E5FF),
    (0x1E95E, 0x1E95F),
)  # fmt: skip

Characters = NDArray[np.bool_]
"""One element for each code point: whether it belongs."""
Ranges = Iterable[tuple[int, int]]


def of_ranges(ranges: Ranges) -> Characters:
    """Return the set of all code points from first to last of each range."""
    found = np.zeros(CODE_POINTS, bool)
    for first, last in ranges:
        found[first : last + 1] = True
    return found


def of_text(text: str) -> Characters:
    """Return the set of the characters of a text."""
    return of_ranges((ord(character), ord(character)) for character in text)


@functools.cache
def _categories() -> NDArray[np.uint8]:
    assert unicodedata2.unidata_version == ".".join(map(str, UNICODE)), "pyproject.toml pins it"
    number = {name: at for at, name in enumerate(CATEGORIES)}
    found = [number[unicodedata2.category(chr(point))] for point in range(CODE_POINTS)]
    return np.array(found, np.uint8)


def of_category(name: str) -> Characters | None:
    """Return the set of a general category, `L` or `Lu`; None if there is none of that name."""
    wanted = [at for at, category in enumerate(CATEGORIES) if category.startswith(name)]
    return np.isin(_categories(), wanted) if name and wanted else None


def white_space() -> Characters:
    """Return the characters with the property White_Space."""
    return of_ranges(WHITE_SPACE)


def numeric() -> Characters:
    """Return what the Digits pre-tokenizer splits at."""
    found = of_category("N")
    assert found is not None
    return found | of_ranges(NUMERIC_SINCE_16)


def punctuation() -> Characters:
    """Return what the Punctuation pre-tokenizer splits at."""
    found = of_category("P")
    assert found is not None
    found = found & ~of_ranges(PUNCTUATION_UP_TO_16)
    return found | of_ranges(PUNCTUATION_BEFORE_16) | of_ranges(ASCII_PUNCTUATION)
