"""How families cut text, where a vocabulary says the family's name instead of its patterns.

GGUF says `tokenizer.ggml.pre`, tiktoken's files of ranks say nothing.  The patterns are those of
the families' own tokenizer.json, which the names stand for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from bitexport.tokenizer.characters import numeric, of_ranges, punctuation
from bitexport.tokenizer.description import Pattern, Tail
from bitexport.tokenizer.pattern import One, Repeat, parse_pattern

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTED = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LINES = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = _CONTRACTED + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + _LINES
QWEN2 = _CONTRACTED + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + _LINES
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTED}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTED}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK_LLM_LETTERS = (
    "\\s?["
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-"
    "\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1"
    "\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-"
    "\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15"
    "\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d"
    "\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb"
    "\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d"
    "\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183"
    "\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b"
    "\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-"
    "\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb"
    "\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
    "]+"
)
DEEPSEEK_LLM_SIGNS = "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
DEEPSEEK_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
DEEPSEEK_V3_CJK = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
DEEPSEEK_V3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LINE_ENDS = r"[\r\n]"
SPACE = r"\s"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manner:
    """How a family prepares text and cuts it."""

    stages: tuple[Pattern | Tail, ...]
    nfc: bool = False
    whole_pieces: bool = False
    digits_of_bytes: bool = False
    begins: bool = False
    """Whether a text begins with the begin token where nothing says whether."""


def manner(name: str) -> Manner | None:
    """Return what `tokenizer.ggml.pre` stands for; None for a name that is not known here."""
    return _MANNERS[name]() if name in _MANNERS else None


def _gpt2() -> Manner:
    return Manner(stages=_cut(GPT2))


def _neox() -> Manner:
    return Manner(stages=_cut(GPT2), nfc=True)


def _llama3() -> Manner:
    return Manner(stages=_cut(LLAMA3), whole_pieces=True, begins=True)


def _qwen2() -> Manner:
    return Manner(stages=_cut(QWEN2), nfc=True)


def _smollm() -> Manner:
    return Manner(stages=(_digit(), *_cut(GPT2)))


def _falcon() -> Manner:
    signs = Pattern(Repeat(One(punctuation()), 1, None), "Punctuation")
    digits = Pattern(Repeat(One(of_ranges([(0x30, 0x39)])), 1, None), "Digits")
    stages = (signs, *_cut(GPT2), digits, *_cut("[0-9][0-9][0-9]"))
    return Manner(stages=stages, digits_of_bytes=True)


def _gpt4o() -> Manner:
    return Manner(stages=_cut(GPT4O))


def _deepseek_llm() -> Manner:
    before = _cut(LINE_ENDS, DEEPSEEK_LLM_LETTERS, DEEPSEEK_LLM_SIGNS)
    tail = Tail(parse_pattern(SPACE))
    return Manner(stages=(*before, tail, *_cut(DEEPSEEK_CJK), _digit()), begins=True)


def _deepseek_coder() -> Manner:
    before = _cut(LINE_ENDS, r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_CJK)
    return Manner(stages=(*before, _digit()), begins=True)


def _deepseek_v3() -> Manner:
    stages = _cut(r"\p{N}{1,3}", DEEPSEEK_V3_CJK, DEEPSEEK_V3)
    return Manner(stages=stages, begins=True)


_MANNERS: Mapping[str, Callable[[], Manner]] = {
    "gpt-2": _gpt2, "phi-2": _gpt2, "mpt": _neox, "olmo": _neox,
    "llama-bpe": _llama3, "llama3": _llama3, "llama-v3": _llama3, "falcon3": _llama3,
    "falcon-h1": _llama3, "qwen2": _qwen2, "deepseek-r1-qwen": _qwen2,
    "smollm": _smollm, "starcoder": _smollm, "falcon": _falcon, "gpt-4o": _gpt4o,
    "deepseek-llm": _deepseek_llm, "deepseek-coder": _deepseek_coder,
    "deepseek-v3": _deepseek_v3,
}  # fmt: skip
NAMES = tuple(_MANNERS)
"""Every `tokenizer.ggml.pre` that is known here."""


def _digit() -> Pattern:
    return Pattern(One(numeric()), "Digits")


def _cut(*patterns: str) -> tuple[Pattern, ...]:
    return tuple(Pattern(parse_pattern(pattern), pattern) for pattern in patterns)
