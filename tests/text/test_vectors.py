"""Text on every core: what TEXT.md says of a few small tables, worked out by hand."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable, Sequence

import pytest
from tests.text import cases, tiny_tables
from tests.text.cases import (
    ASSISTANT,
    BARE,
    CONTINUES,
    PLAIN,
    SHOW_CONTROL,
    SYSTEM,
    USER,
    encoded,
    joined,
    messages,
    stream,
    streamed,
)
from tests.text.cases import encode as bare_or_not
from tests.text.tiny_tables import (
    _AB,
    _H,
    _HI,
    AA,
    AB,
    ABCD,
    AITCH,
    BCD,
    BEGIN,
    BYTES,
    CD,
    DOUBLE,
    E9_HEAD,
    E9_TAIL,
    EURO_HEAD,
    EURO_TAIL,
    EYE,
    FUSE,
    HI,
    LONG,
    LOWER_BLOCK,
    NEWLINE,
    NONE,
    NORMALIZED,
    ODD,
    PATTERN,
    SPACE,
    TAIL,
    UNKNOWN,
    UNLESS,
    WHOLE,
    WORDS,
    XY,
    R,
    S,
    Tables,
    X,
    byte_tables,
    character_tables,
    chat_section,
    normal_tables,
)

Replay = Callable[[Sequence[bytes]], list[str]]
Vector = tuple[bytes, str]

TEXT, ROLE, ROOM, ARGUMENT, TOKEN = -16, -17, -20, -1, -10
REPLACEMENT = "\ufffd".encode()
THOUSANDS = 2001


def use(tables: Tables, spare: int = 0) -> Vector:
    return cases.tokenizer(tables.write(), len(tables.tokens) + spare), "tokenizer 0"


def gives(text: str | bytes, tokens: Sequence[int], flags: int = BARE, **more: object) -> Vector:
    data = text if isinstance(text, bytes) else text.encode()
    return bare_or_not(data, flags, **more), encoded(tokens)  # type: ignore[arg-type]


def refuses(text: bytes, status: int, count: int, **more: object) -> Vector:
    return bare_or_not(text, BARE, **more), f"encode {status} {count}"  # type: ignore[arg-type]


def says(
    tokens: Sequence[int], pieces: Sequence[str | bytes], rest: str | bytes = b"", *,
    flags: int = 0, stops: Sequence[bytes] = (), stopped: bool = False,
) -> Vector:  # fmt: skip
    given = [piece if isinstance(piece, bytes) else piece.encode() for piece in pieces]
    end = rest if isinstance(rest, bytes) else rest.encode()
    return stream(tokens, flags, stops), streamed(given, end, stopped=stopped)


# ---- Encoding bytes --------------------------------------------------------------------------


def vectors_of_bytes() -> list[Vector]:
    return [
        use(byte_tables()),
        gives("", []),
        gives("", [S, R, S], 0),
        gives("abcd", [ABCD]),
        gives("abcd", [S, ABCD, R, S], 0),
        gives("bcd", [ord("b"), CD]),  # cd has the lower rank
        gives("aaa", [AA, ord("a")]),  # the leftmost
        gives("ab cd", [AB, 32, CD]),
        gives("a  ab", [ord("a"), 32, _AB]),  # the first space matches nothing
        gives("a1b2", list(b"a1b2")),
        gives("\u4e2d\u20ac", list("\u4e2d\u20ac".encode())),
        # Added tokens: the longest, what control means, and the spaces beside them.
        gives("<s>ab", [S, AB]),
        gives("<s>ab", [*b"<s>", AB], BARE | PLAIN),
        gives("<s>b", [LONG], BARE | PLAIN),
        gives("<xy><x>", [XY, X]),
        gives("<odd>", list(b"<odd>")),
        gives("<n><s>", [NORMALIZED, S]),
        gives("<s><s>", [S, *b"<s>"], plain=[(5, 6)]),
        gives("<s><s>", [S, S], plain=[(3, 3), (6, 6)]),
        gives("<s><s>a", [*b"<s>", S, ord("a")], plain=[(1, 2), (6, 7)]),
        gives("ab \u3000<x>cd", [AB, X, CD]),
        gives("<r> \t<x>", [R, X]),
        gives("<r>  ab", [R, AB]),
        gives("<r> <x> <r> ", [R, X, 32, R]),
        # What is refused.
        refuses(b"ab\xff", TEXT, 2),
        refuses(b"a\xed\xa0\x80", TEXT, 1),
        refuses(b"\xc0\xaf", TEXT, 0),
        refuses(b"abcdefgh\xf4\x90\x80\x80", TEXT, 8),
        refuses(b"\xe2\x82", TEXT, 0),
        refuses(b"ab", ARGUMENT, 0, plain=[(0, 1), (0, 2)]),
        refuses(b"ab", ARGUMENT, 0, plain=[(0, 3)]),
        refuses(b"ab", ARGUMENT, 0, plain=[(2, 1)]),
        refuses(b"ab", ROOM, 1, room=0),
        (bare_or_not(b"ab ab", BARE, room=1), encoded([AB, _AB], ROOM).rpartition(" ")[0]),
        # Long rows.
        use(dataclasses.replace(byte_tables(), stages=[])),
        gives("a" * THOUSANDS, [AA] * (THOUSANDS // 2) + [ord("a")]),
        *(gives(text, merged(text)) for text in long_texts()),
        # Whole pieces.
        use(dataclasses.replace(byte_tables(), flags=WHOLE)),
        gives("bcd abcd", [BCD, _AB, CD]),
        # Stages: a tail, then a pattern that sees its pieces alone.
        use(two_stages()),
        gives("cb", [ord("c"), ord("b")]),
        gives("cb ", [*b"cb "]),
        gives("b b", [len(two_stages().tokens) - 1, ord("b")]),
        gives("  \u3000", [*"  \u3000".encode()]),
    ]


def two_stages() -> Tables:
    """Return tables where "b " is a token, the spaces at the end are cut off, then ` ?L+ ?`."""
    letters_and_space = [
        [0, 0, 0, 0, 0],
        [0, 2, 3, 0, 0],
        [0, 0, 3, 0, 0],
        [tiny_tables.ENDS, tiny_tables.ENDS | 4, tiny_tables.ENDS | 3] + [tiny_tables.ENDS] * 2,
        [tiny_tables.ENDS] * 5,
    ]
    tables = dataclasses.replace(byte_tables(), prefix_tokens=[], suffix_tokens=[])
    tables.tokens = [*tables.tokens, b"b "]
    tables.merges = [(ord("b"), 32, len(tables.tokens) - 1)]
    steps = [step for row in letters_and_space for step in row]
    tables.stages = [(TAIL, 0, [1 << 1]), (PATTERN, len(letters_and_space), steps)]
    return tables


def long_texts() -> list[str]:
    """Return texts of one piece that are merged in the tree of ranks, or just not."""
    draw = random.Random(1)
    return ["".join(draw.choices("abcd", k=size)) for size in (31, 32, 33, 100, 256, 257, 700)]


def merged(text: str) -> list[int]:
    """Merge as step 7 says it, looking at every pair every time."""
    ranks = {(a, b): (rank, token) for rank, (a, b, token) in enumerate(byte_tables().merges)}
    tokens = list(text.encode())
    while True:
        pairs = [
            (*ranks[pair], at)
            for at, pair in enumerate(itertools.pairwise(tokens))
            if pair in ranks
        ]
        if not pairs:
            return tokens
        _, token, at = min(pairs, key=lambda pair: (pair[0], pair[2]))
        tokens[at : at + 2] = [token]


# ---- Encoding characters ---------------------------------------------------------------------


def vectors_of_characters() -> list[Vector]:
    tables = character_tables()
    ih = len(tables.tokens)
    equal_ranks = dataclasses.replace(
        tables, tokens=[*tables.tokens, b"ih"], merges=[(AITCH, EYE, HI), (EYE, AITCH, ih)]
    )
    return [
        use(tables),
        gives("", []),
        gives("hi", [_HI]),
        gives(" hi", [DOUBLE, HI]),
        gives("hi  hi", [_HI, DOUBLE, HI]),
        gives("h\u2581hi", [_H, _HI]),
        gives("\u00e9", [SPACE, E9_HEAD, E9_TAIL]),
        gives("\n", [SPACE, NEWLINE]),
        gives("q", [SPACE, UNKNOWN]),
        gives("q\u00ca\u4e2dq", [SPACE, UNKNOWN]),
        gives("qhq", [SPACE, UNKNOWN, AITCH, UNKNOWN]),
        gives("<s>hi", [BEGIN, HI]),
        gives(" " * THOUSANDS, [DOUBLE] * ((THOUSANDS + 1) // 2)),
        use(dataclasses.replace(tables, prefix=1)),
        gives("<s>hi", [BEGIN, _HI]),
        use(dataclasses.replace(tables, prefix=0)),
        gives("hi hi", [HI, _HI]),
        use(dataclasses.replace(tables, flags=LOWER_BLOCK | UNLESS)),
        gives(" hi", [_HI]),
        gives("\u2581hi", [_HI]),
        gives("qq", [SPACE, UNKNOWN, UNKNOWN]),
        use(dataclasses.replace(tables, unknown=NONE, flags=LOWER_BLOCK | FUSE)),
        gives("hqi", [_HI]),
        use(dataclasses.replace(tables, flags=LOWER_BLOCK | WHOLE, exceptions=[DOUBLE, _H])),
        gives("h", [_H]),
        gives(" ", [DOUBLE]),
        use(dataclasses.replace(equal_ranks, flags=LOWER_BLOCK)),
        gives("ihi", [SPACE, EYE, HI]),
        use(dataclasses.replace(equal_ranks, ranks=[0] * len(equal_ranks.tokens))),
        gives("ihi", [SPACE, ih, EYE]),
        gives("ih" * 40, [SPACE, *[ih] * 40]),
    ]


# ---- Normal forms ----------------------------------------------------------------------------


def vectors_of_normal_forms() -> list[Vector]:
    draw = random.Random(2)
    marks = draw.choices("\u0300\u0301\u0323\u0324\u0345", k=1000)
    classes = {"\u0300": 230, "\u0301": 230, "\u0323": 220, "\u0324": 220, "\u0345": 240}
    in_order = "".join(sorted(marks, key=lambda mark: classes[mark]))
    return [
        use(normal_tables()),
        *(
            gives(text, list(form.encode()))
            for text, form in (
                ("A\u030a", "\u00c5"),
                ("\u212b\u212b", "\u00c5\u00c5"),
                ("A\u0323\u030a!", "\u00c5\u0323!"),
                ("s\u0307\u0323", "\u1e69"),
                ("\u1e69\u0323", "\u1e69\u0323"),
                ("\u0344", "\u0308\u0301"),
                ("\u1100\u1161\u11a8", "\uac01"),
                ("\uac00\u11a7\uac00\u11a8", "\uac00\u11a7\uac01"),
                ("\ud7a3\u1161", "\ud7a3\u1161"),
                ("\u09c7\u09be\u09c7\u0323\u09be", "\u09cb\u09c7\u0323\u09be"),
                ("\U0001d15e" * 90, "\U0001d157\U0001d165" * 90),
                ("a" + "".join(marks) + "b", "a" + in_order + "b"),
                ("".join(marks), in_order),
            )
        ),
        use(dataclasses.replace(normal_tables(), prefix=2, flags=1 | UNLESS)),
        gives(" A\u030a", list(" \u00c5".encode())),
        gives("\u2581", list(" \u2581".encode())),
        use(dataclasses.replace(normal_tables(), prefix=2, flags=1 | LOWER_BLOCK | UNLESS)),
        gives("A\u030a  b", list("\u2581\u00c5\u2581\u2581b".encode())),
        gives("\u2581", list("\u2581".encode())),
    ]


# ---- Streams ---------------------------------------------------------------------------------


def vectors_of_streams() -> list[Vector]:
    a, b, c, d, x = b"abcdx"
    return [
        use(byte_tables(), spare=2),
        says([], []),
        says([EURO_HEAD, EURO_TAIL], ["", "\u20ac"]),
        says([EURO_HEAD, S, EURO_TAIL], ["", "", "\u20ac"]),
        says([EURO_HEAD, a], ["", REPLACEMENT + b"a"]),
        says([EURO_HEAD], [""], REPLACEMENT),
        says([0xF0, 0x9F, 0x92, a], ["", "", "", REPLACEMENT + b"a"]),
        says([0xE0, 0x80, 0xFF], ["", REPLACEMENT * 2, REPLACEMENT]),
        says([0xED, 0xA0, 0x80], ["", REPLACEMENT * 2, REPLACEMENT]),
        says([S, AB, ODD, len(byte_tables().tokens) + 1], ["", "ab", "", ""]),
        says([S, ODD], ["<s>", ""], flags=SHOW_CONTROL),
        (stream([a, -1]), f"stream 0 61 {TOKEN} ended -"),
        (stream([len(byte_tables().tokens) + 2]), f"stream 0 {TOKEN} ended -"),
        # Stop strings.
        says([AB, c, d, x], ["a", "", ""], stops=[b"cd", b"bcd"], stopped=True),
        says([AB, CD], ["ab", ""], stops=[b"cd"], stopped=True),
        says([ABCD], ["a"], stops=[b"cd", b"bc"], stopped=True),
        says([AB, c], ["", "abc"], stops=[b"abx"]),
        says([AA, AA, b], ["", "aa", ""], stops=[b"aab"], stopped=True),
        says([AB], ["a"], "b", stops=[b"bc"]),
        says([EURO_HEAD, a], ["", ""], stops=[REPLACEMENT + b"a"], stopped=True),
        says([a, EURO_HEAD], ["a", ""], "", stops=[REPLACEMENT]),
        (stream([a], 0, [b""]), f"stream {ARGUMENT}"),
        (stream([a], 0, [b"\xff"]), f"stream {ARGUMENT}"),
        (stream([a], 0, [b"a" * 129]), f"stream {ARGUMENT}"),
        # Spaces at the start, and tokens too long.
        use(character_tables()),
        says([_HI, _HI], ["hi", " hi"]),
        says([BEGIN, DOUBLE, _HI], ["", " ", " hi"]),
        says([_HI], [" hi"], flags=CONTINUES),
        says([BEGIN, _HI], ["<s>", " hi"], flags=SHOW_CONTROL),
        use(Tables(BYTES, [b"a" * 1000, b"a" * 1022, b"\xff" * 300, b"\xff" * 400])),
        says([0, 0], ["a" * 1000, "a" * 1000]),
        (stream([1]), f"stream 0 {ROOM} ended -"),
        says([2], [REPLACEMENT * 300]),
        (stream([3]), f"stream 0 {ROOM} ended -"),
    ]


# ---- Conversations ---------------------------------------------------------------------------


def vectors_of_conversations() -> list[Vector]:
    start, system, user, assistant, generate, stop = 0, 1, 2, 3, 3, 4
    segments = {
        (start, SYSTEM): b"<s>[", (start, USER): b"<s>U:", (system, USER): b"]U:",
        (user, ASSISTANT): b"\nA:", (user, generate): b"\nA:", (assistant, USER): b"</s>U:",
        (assistant, stop): b"</s>", (start, generate): b"",
    }  # fmt: skip

    def template_of(strip: int) -> bytes:
        return cases.chat(chat_section(segments, strip=(0, strip, 0), stops=[3]))

    return [
        use(byte_tables()),
        (template_of(0xFF), "chat 0"),
        (messages([]), "text 0 0"),
        (messages([(USER, b"hi")]), joined(b"<s>U:hi\nA:", [(5, 7)])),
        (
            messages([(SYSTEM, b" s "), (USER, " \u3000x\x1f\n".encode()), (ASSISTANT, b" y ")],
                     generate=False),
            joined(b"<s>[ s ]U:x\nA: y </s>", [(4, 7), (10, 11), (14, 17)]),
        ),
        (messages([(USER, b" \n")]), joined(b"<s>U:\nA:")),
        (template_of(0xF7), "chat 0"),
        (  # behind start both ends are stripped, behind system the left alone
            messages([(SYSTEM, b" s"), (USER, " \u3000x ".encode())]),
            joined(b"<s>[ s]U:x \nA:", [(4, 6), (9, 11)]),
        ),
        (template_of(0x80), "chat 0"),
        (messages([(USER, b" x ")], after=ASSISTANT), joined(b"</s>U: x\nA:", [(6, 8)])),
        (messages([(USER, b" x ")]), joined(b"<s>U: x \nA:", [(5, 8)])),
        (template_of(0xF7), "chat 0"),
        (messages([(USER, b"x")], after=ASSISTANT), joined(b"</s>U:x\nA:", [(6, 7)])),
        (messages([(USER, b"x"), (USER, b"y")]), f"text {ROLE} 1"),
        (messages([(USER, b"x")], generate=False), f"text {ROLE} 1"),
        (messages([(ASSISTANT, b"x")]), f"text {ROLE} 0"),
        (messages([(USER, b"x"), (ASSISTANT, b"\xff")]), f"text {TEXT} 1"),
        (messages([(3, b"x")]), f"text {ARGUMENT} 0"),
        (messages([], after=4), f"text {ARGUMENT} 0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "vectors",
    [
        vectors_of_bytes, vectors_of_characters, vectors_of_normal_forms, vectors_of_streams,
        vectors_of_conversations,
    ],
)  # fmt: skip
def test_every_core_does_what_the_specification_says(
    vectors: Callable[[], list[Vector]], replay: Replay
) -> None:
    asked = vectors()
    said = replay([case for case, _ in asked])
    assert said == [expected for _, expected in asked]


def test_the_pattern_is_the_one_that_vectors_are_worked_out_for() -> None:
    assert len(WORDS) * (len(byte_tables().classes) + 2) == len(byte_tables().stages[0][2])
