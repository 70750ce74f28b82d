"""The tables of Unicode's normalization form C, as Hugging Face tokenizers has it.

tokenizers 0.23 normalizes by Unicode 9.0, and no later version changed the forms of what 9.0 had.
Characters that came later have no normal form there: they are left as they are.
"""

from __future__ import annotations

import dataclasses
import functools

import unicodedata2

from bitexport.tokenizer.characters import CODE_POINTS, of_ranges

HANGUL = range(0xAC00, 0xD7A4)
SINCE_UNICODE_9 = (
    (0x7FD, 0x7FD), (0x897, 0x89F), (0x8CA, 0x8D3), (0x9FE, 0x9FE), (0xC3C, 0xC3C),
    (0xD3B, 0xD3C), (0xEBA, 0xEBA), (0x1715, 0x1715), (0x1ABF, 0x1ACE), (0x1DF6, 0x1DFA),
    (0xA82C, 0xA82C), (0x105C9, 0x105C9), (0x105E4, 0x105E4), (0x10D24, 0x10D27),
    (0x10D69, 0x10D6D), (0x10EAB, 0x10EAC), (0x10EFD, 0x10EFF), (0x10F46, 0x10F50),
    (0x10F82, 0x10F85), (0x11070, 0x11070), (0x1133B, 0x1133B), (0x11383, 0x11383),
    (0x11385, 0x11385), (0x1138E, 0x1138E), (0x11391, 0x11391), (0x113C5, 0x113C5),
    (0x113C7, 0x113C8), (0x113CE, 0x113D0), (0x1145E, 0x1145E), (0x11839, 0x1183A),
    (0x11938, 0x11938), (0x1193D, 0x1193E), (0x11943, 0x11943), (0x119E0, 0x119E0),
    (0x11A34, 0x11A34), (0x11A47, 0x11A47), (0x11A99, 0x11A99), (0x11D42, 0x11D42),
    (0x11D44, 0x11D45), (0x11D97, 0x11D97), (0x11F41, 0x11F42), (0x16121, 0x16128),
    (0x1612F, 0x1612F), (0x16D68, 0x16D6A), (0x16FF0, 0x16FF1), (0x1E08F, 0x1E08F),
    (0x1E130, 0x1E136), (0x1E2AE, 0x1E2AE), (0x1E2EC, 0x1E2EF), (0x1E4EC, 0x1E4EF),
    (0x1E5EE, 0x1E5EF),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class NormalForms:
    """What normalization to form C looks up; Hangul is left to its formula."""

    decompositions: tuple[tuple[int, int, int], ...]
    """(code point, first, second or 0): one canonical step."""
    compositions: tuple[tuple[int, int, int], ...]
    """(first, second, composite), sorted."""
    combining: tuple[tuple[int, int, int], ...]
    """(first code point, last, class), where it is not 0."""


@functools.cache
def normal_forms() -> NormalForms:
    """Return the tables."""
    later = of_ranges(SINCE_UNICODE_9)
    steps, composites, runs = [], [], list[tuple[int, int, int]]()
    for point in range(CODE_POINTS):
        character = chr(point)
        if later[point] or point in HANGUL:
            continue
        found = unicodedata2.combining(character)
        if found:
            follows = bool(runs) and runs[-1][1:] == (point - 1, found)
            first = runs.pop()[0] if follows else point
            runs.append((first, point, found))
        spelled = unicodedata2.decomposition(character)
        if not spelled or spelled.startswith("<"):
            continue
        parts = [int(word, 16) for word in spelled.split()]
        steps.append((point, parts[0], parts[1] if len(parts) > 1 else 0))
        whole = "".join(map(chr, parts))
        if len(parts) > 1 and unicodedata2.normalize("NFC", whole) == character:
            composites.append((parts[0], parts[1], point))
    return NormalForms(tuple(steps), tuple(sorted(composites)), tuple(runs))
