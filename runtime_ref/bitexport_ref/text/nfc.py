"""Unicode's normal form C, by the tables of the file (TEXT.md, section 2)."""

from __future__ import annotations

import itertools

from bitexport_ref.text.tables import TokenizerTables

# The Hangul syllables, as UAX 15 computes them.
S_BASE, L_BASE, V_BASE, T_BASE = 0xAC00, 0x1100, 0x1161, 0x11A7
L_COUNT, V_COUNT, T_COUNT = 19, 21, 28
S_COUNT = L_COUNT * V_COUNT * T_COUNT


def nfc(text: str, tables: TokenizerTables) -> str:
    """Return the text in normal form C."""
    if text.isascii():
        return text
    points: list[int] = []
    for character in text:
        _decompose(ord(character), tables, points)
    return "".join(map(chr, _compose(_ordered(points, tables), tables)))


def _decompose(point: int, tables: TokenizerTables, points: list[int]) -> None:
    """Append the full canonical decomposition of a code point."""
    index = point - S_BASE
    if 0 <= index < S_COUNT:
        leading, rest = divmod(index, V_COUNT * T_COUNT)
        vowel, trailing = divmod(rest, T_COUNT)
        points += [L_BASE + leading, V_BASE + vowel]
        if trailing:
            points.append(T_BASE + trailing)
        return
    step = tables.decompositions.get(point)
    if step is None:
        points.append(point)
        return
    for part in step:
        _decompose(part, tables, points)


def _ordered(points: list[int], tables: TokenizerTables) -> list[int]:
    """Sort what stands between characters of class 0, stably, by combining class."""

    def combining(point: int) -> int:
        return tables.combining.get(point, 0)

    runs = itertools.groupby(points, lambda point: combining(point) > 0)
    return [
        point for moves, run in runs for point in (sorted(run, key=combining) if moves else run)
    ]


def _compose(points: list[int], tables: TokenizerTables) -> list[int]:
    """Join each character with the last starter before it, where nothing blocks it."""
    composed: list[int] = []
    starter: int | None = None  # where in `composed`
    last_class = 0
    for point in points:
        combining = tables.combining.get(point, 0)
        if starter is not None:
            adjacent = starter == len(composed) - 1
            blocked = not adjacent and last_class >= combining
            joined = None if blocked else _joined(composed[starter], point, tables)
            if joined is not None:
                composed[starter] = joined
                continue
        if combining == 0:
            starter = len(composed)
        composed.append(point)
        last_class = combining
    return composed


def _joined(first: int, second: int, tables: TokenizerTables) -> int | None:
    """Return the primary composite of two code points, if there is one."""
    if 0 <= first - L_BASE < L_COUNT and 0 <= second - V_BASE < V_COUNT:
        return S_BASE + ((first - L_BASE) * V_COUNT + (second - V_BASE)) * T_COUNT
    syllable = first - S_BASE
    if 0 <= syllable < S_COUNT and syllable % T_COUNT == 0 and 0 < second - T_BASE < T_COUNT:
        return first + second - T_BASE
    return tables.compositions.get((first, second))
