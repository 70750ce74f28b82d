"""The part of regular expressions that the models' patterns use, read into a tree.

Two dialects: Oniguruma's as Hugging Face tokenizers runs it (Ruby's syntax), and that of tiktoken
(Rust's fancy-regex).  What is not known here is refused by name, never taken for something near.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Never

from bitexport.errors import CheckpointError
from bitexport.tokenizer.characters import (
    CODE_POINTS,
    Characters,
    of_category,
    of_ranges,
    of_text,
    white_space,
)
from bitexport.tokenizer.refusal import WAY_OUT

MOST_REPEATS = 64
# Letters beyond ASCII that the same letter without case is, and pairs that some one letter is.
FOLDED = {"k": "\u212a", "s": "\u017f"}
LIGATURES = ("ss", "ff", "fi", "fl", "st")


class Dialect(enum.Enum):
    """Whose reading of a pattern counts."""

    ONIGURUMA = enum.auto()
    RUST = enum.auto()


@dataclasses.dataclass(frozen=True, eq=False)
class One:
    """One character of a set."""

    characters: Characters


@dataclasses.dataclass(frozen=True, eq=False)
class Ahead:
    """Nothing, if the next character belongs to the set, or the text ends and `end` says so."""

    characters: Characters
    end: bool


@dataclasses.dataclass(frozen=True)
class Row:
    """One after the other."""

    parts: tuple[Node, ...]


@dataclasses.dataclass(frozen=True)
class Either:
    """The first that leads to a match."""

    branches: tuple[Node, ...]


@dataclasses.dataclass(frozen=True)
class Repeat:
    """From `least` to `most` times, None for no end; rather more often if greedy."""

    body: Node
    least: int
    most: int | None
    greedy: bool = True
    possessive: bool = False


Node = One | Ahead | Row | Either | Repeat


def parse_pattern(text: str, dialect: Dialect = Dialect.ONIGURUMA) -> Node:
    """Return the tree of a pattern; one beyond this reader is a CheckpointError that says why."""
    return _Parser(text, dialect).whole()


def literal(text: str) -> Node:
    """Return the pattern that matches a text."""
    return Row(tuple(One(of_text(character)) for character in text))


class _Parser:
    def __init__(self, text: str, dialect: Dialect) -> None:
        self.text = text
        self.dialect = dialect
        self.at = 0
        self.caseless = False

    def whole(self) -> Node:
        node = self._either()
        if self.at < len(self.text):
            self._refuse("`)` without `(`")
        return node

    def _refuse(self, what: str) -> Never:
        raise CheckpointError(
            f"the pattern `{self.text}` has {what} at character {self.at}, which is not supported",
            hint=WAY_OUT,
        )

    def _ahead(self, text: str) -> bool:
        if not self.text.startswith(text, self.at):
            return False
        self.at += len(text)
        return True

    def _next(self) -> str:
        if self.at >= len(self.text):
            self._refuse("an end that comes too soon")
        self.at += 1
        return self.text[self.at - 1]

    def _either(self) -> Node:
        branches = [self._row()]
        while self._ahead("|"):
            branches.append(self._row())
        return branches[0] if len(branches) == 1 else Either(tuple(branches))

    def _row(self) -> Node:
        parts: list[Node] = []
        spelled = ""
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            start = self.at
            parts.append(self._repeated(self._atom()))
            letter = self.text[start : self.at].lower()
            spelled = spelled + letter if len(letter) == 1 else ""
            if self.caseless and spelled.endswith(LIGATURES):
                self._refuse(f"`{spelled[-2:]}` without case, which a single letter may stand for,")
        return parts[0] if len(parts) == 1 else Row(tuple(parts))

    def _atom(self) -> Node:
        character = self._next()
        if character == "(":
            return self._group()
        if character == "[":
            return One(self._class())
        if character == ".":
            return One(~of_text("\n"))
        if character == "$":
            lines = self.dialect is Dialect.ONIGURUMA
            return Ahead(of_text("\n") if lines else of_text(""), end=True)
        if character == "\\":
            return One(self._without_case(self._escape()))
        if character in "*+?^{":
            self._refuse(f"`{character}`")
        return One(self._without_case(of_text(character)))

    def _without_case(self, characters: Characters) -> Characters:
        if not self.caseless:
            return characters
        ascii_part = [chr(point) for point in characters[:0x80].nonzero()[0]]
        if characters[0x80:].any():
            self._refuse("a character beyond ASCII in a part without case")
        same = [c.swapcase() for c in ascii_part] + [FOLDED.get(c.lower(), "") for c in ascii_part]
        return characters | of_text("".join(same))

    def _group(self) -> Node:
        for start, negative in (("?!", True), ("?=", False)):
            if self._ahead(start):
                return self._look(negative)
        before = self.caseless
        if self._ahead("?i:"):
            self.caseless = True
        elif not self._ahead("?:") and self.text.startswith("?", self.at):
            self._refuse(f"`({self.text[self.at : self.at + 2]}`")
        node = self._either()
        self.caseless = before
        if not self._ahead(")"):
            self._refuse("`(` without `)`")
        return node

    def _look(self, negative: bool) -> Node:
        node = self._either()
        if not self._ahead(")"):
            self._refuse("`(` without `)`")
        if not isinstance(node, One):
            self._refuse("a look ahead at more than one character")
        return Ahead(~node.characters, True) if negative else Ahead(node.characters, False)

    def _repeated(self, node: Node) -> Node:
        while self.at < len(self.text) and self.text[self.at] in "*+?{":
            if isinstance(node, Ahead):
                self._refuse("a repeated look ahead")
            least, most, braces = self._bounds()
            if self._ahead("?"):
                if braces:
                    self._refuse("`}?`")
                node = Repeat(node, least, most, greedy=False)
            elif braces and self.dialect is Dialect.ONIGURUMA:
                node = Repeat(node, least, most)
            else:
                node = Repeat(node, least, most, possessive=self._ahead("+"))
        return node

    def _bounds(self) -> tuple[int, int | None, bool]:
        character = self._next()
        if character != "{":
            return {"*": (0, None, False), "+": (1, None, False), "?": (0, 1, False)}[character]
        inside, brace, _ = self.text[self.at :].partition("}")
        first, comma, last = inside.partition(",")
        numbers = [word for word in (first, last) if word]
        if not brace or not numbers or not all(w.isascii() and w.isdigit() for w in numbers):
            self._refuse("`{`")
        self.at += len(inside) + 1
        least = int(first or 0)
        most = int(last) if last else None if comma else least
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least):
            self._refuse(f"`{{{inside}}}`")
        return least, most, True

    def _escape(self) -> Characters:
        character = self._next()
        if character in "sS":
            return white_space() if character == "s" else ~white_space()
        if character in "dD":
            digits = of_category("Nd")
            assert digits is not None
            return digits if character == "d" else ~digits
        if character in "pP":
            return self._property(character == "P")
        if character in "rntf":
            return of_text({"r": "\r", "n": "\n", "t": "\t", "f": "\f"}[character])
        if character in "xu":
            return of_text(self._hexadecimal(character))
        if character.isascii() and character.isalnum():
            self._refuse(f"`\\{character}`")
        return of_text(character)

    def _hexadecimal(self, kind: str) -> str:
        if self._ahead("{"):
            digits, brace, _ = self.text[self.at :].partition("}")
            self.at += len(digits) + 1
        else:
            brace, digits = "}", self.text[self.at : self.at + (2 if kind == "x" else 4)]
            self.at += len(digits)
        try:
            return chr(int(digits, 16)) if brace else self._refuse(f"`\\{kind}`")
        except (ValueError, OverflowError):
            self._refuse(f"`\\{kind}{digits}`")

    def _property(self, negative: bool) -> Characters:
        if self._ahead("{"):
            name, brace, _ = self.text[self.at :].partition("}")
            self.at += len(name) + len(brace)
        else:
            name = self._next()
        if name.startswith("^"):
            name, negative = name[1:], not negative
        found = of_category(name)
        if found is None:
            self._refuse(f"the property `{name}`")
        return ~found if negative else found

    def _class(self) -> Characters:
        negative = self._ahead("^")
        found = of_text("")
        first = True
        while first or not self._ahead("]"):
            first = False
            if self.text.startswith(("[", "&&"), self.at):
                self._refuse("a class in a class")
            low, single = self._member()
            ranged = self.text.startswith("-", self.at) and not self.text.startswith("-]", self.at)
            if not ranged:
                found |= low
                continue
            self.at += 1
            high, also_single = self._member()
            if not (single and also_single):
                self._refuse("a range between sets")
            start, end = int(low.argmax()), int(high.argmax())
            if start > end:
                self._refuse("a range that runs backwards")
            found |= of_ranges([(start, end)])
        found = self._without_case(found)
        return ~found if negative else found

    def _member(self) -> tuple[Characters, bool]:
        if self._ahead("\\"):
            start = self.at
            found = self._escape()
            return found, self.text[start] not in "sSdDpP"
        return of_text(self._next()), True


assert white_space().size == CODE_POINTS
