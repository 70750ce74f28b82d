"""Strings that tokenizers trip over, from a seeded generator: the same ones on every machine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

SCRIPTS = (
    (0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x17F), (0x370, 0x3FF), (0x400, 0x4FF), (0x531, 0x587),
    (0x5D0, 0x5EA), (0x620, 0x64A), (0x900, 0x97F), (0xE01, 0xE5B), (0x1000, 0x109F),
    (0x1100, 0x11FF), (0x13A0, 0x13FD), (0x1E00, 0x1EFF), (0x3041, 0x30FF), (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3), (0x10400, 0x1044F), (0x20000, 0x2A6DF),
)  # fmt: skip
MARKS = ((0x300, 0x36F), (0x591, 0x5BD), (0x64B, 0x65F), (0x93C, 0x94D), (0x3099, 0x309A),
         (0x1161, 0x1175), (0x11A8, 0x11C2), (0x1AB0, 0x1ACE), (0x20D0, 0x20F0))  # fmt: skip
DIGITS = ((0x30, 0x39), (0x660, 0x669), (0xB2, 0xB3), (0xBC, 0xBE), (0x2160, 0x216B),
          (0xFF10, 0xFF19), (0x1D7CE, 0x1D7FF))  # fmt: skip
SIGNS = ((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E), (0xA1, 0xBF), (0x2010, 0x2027),
         (0x20A0, 0x20BF), (0x2200, 0x22FF), (0x3001, 0x3011), (0xFF01, 0xFF0F))  # fmt: skip
SPACES = " " * 8 + "\t\n\r\v\f\x85\xa0\u1680\u2000\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
EMOJI = (
    "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea",
    "\u2764\ufe0f", "\U0001f44d\U0001f3fd", "5\ufe0f\u20e3",
    "\U0001f3f4\U000e0067\U000e0062\U000e007f",
)  # fmt: skip
PHRASES = (
    "don't", "I'LL", "we'\u017fe", "'s", "'RE", "\u2019t", "x'S", "\u2581",
    "\u2581\u2581a", "<0x41>", "<0x", "\ufffd",
    "\ufeff", "\u200b", "\0", "\x7f", "http://a.b/c?d=e&f", "3.14159", "1234567890",
    "a_b-c", "\r\n\r\n",
    "   \n  \n", "\u0130\u0131", "\ufb01", "\u212b", "e\u0301", "\u1100\u1161\u11a8",
    "\u0344", "q\u0323\u0307",
    "\U0010ffff", "\ue000", "\ud7ff", "for(i=0;i<n;++i){", "The quick brown fox", " the", " and",
)  # fmt: skip


def strings(seed: int, count: int, special: Sequence[str] = ()) -> Iterator[str]:
    """Yield texts of up to some thirty parts; `special` are tokens that some of them spell."""
    rng = random.Random(seed)
    for _ in range(count):
        yield "".join(_part(rng, special) for _ in range(rng.randrange(rng.choice((2, 8, 30)))))


def _part(rng: random.Random, special: Sequence[str]) -> str:
    kind = rng.randrange(12)
    if kind == 0 and special:
        token = rng.choice(special)
        return rng.choice((token, token[:-1], token * 2, f" {token} "))
    if kind <= 1:
        return "".join(chr(_point(rng)) for _ in range(rng.randrange(1, 4)))
    if kind <= 3:
        return rng.choice(SPACES) * rng.choice((1, 1, 1, 2, 5))
    if kind == 4:
        return rng.choice(EMOJI)
    if kind <= 6:
        return rng.choice(PHRASES)
    ranges = (SCRIPTS, SCRIPTS, MARKS, DIGITS, SIGNS)[kind - 7]
    size = rng.randrange(1, 9 if ranges is SCRIPTS else 4)
    first, last = rng.choice(ranges)
    if rng.random() < 0.3:
        first, last = rng.choice(((0x61, 0x7A), (0x30, 0x39)))
    return "".join(chr(rng.randint(first, last)) for _ in range(size))


def _point(rng: random.Random) -> int:
    while True:
        point = rng.randrange(rng.choice((0x80, 0x3000, 0x11000, 0x20000, 0x110000)))
        if not 0xD800 <= point < 0xE000:
            return point
