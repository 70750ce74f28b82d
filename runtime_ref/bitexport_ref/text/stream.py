"""From tokens to text, as they come (TEXT.md, section 3)."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence

from bitexport_ref.errors import TokenOutside
from bitexport_ref.text.tables import Flag, TokenFlag, TokenizerTables

SPACE = b" "
_HIDDEN = TokenFlag.CONTROL | TokenFlag.UNUSED


class TextStream:
    """Takes tokens, gives complete characters, and ends at a stop string."""

    def __init__(
        self,
        tables: TokenizerTables,
        *,
        stop: Sequence[str] = (),
        show_control: bool = False,
        continues: bool = False,
    ) -> None:
        """Begin a text, or with `continues` go on behind one.

        An empty stop string is a `ValueError`.
        """
        if "" in stop:
            message = "a stop string is empty"
            raise ValueError(message)
        self.tables = tables
        self.stopped = False
        self._stop = tuple(stop)
        self._show_control = show_control
        self._drop_space = Flag.DROP_FIRST_SPACE in tables.flags and not continues
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def push(self, token: int, *, vocabulary: int | None = None) -> str:
        """Return the text that is certain after one more token; nothing after a stop string."""
        if token < 0 or (vocabulary is not None and token >= vocabulary):
            message = f"token {token} is outside the vocabulary"
            raise TokenOutside(message)
        return self._give(self._characters(self._bytes(token)), at_end=False)

    def finish(self) -> str:
        """Return what is held back."""
        return self._give(self._decoder.decode(b"", final=True), at_end=True)

    def _characters(self, raw: bytes) -> str:
        """Decode what is certain: Python alone waits for the end of a surrogate, which is none."""
        text = self._decoder.decode(raw)
        held, _ = self._decoder.getstate()
        if held[:1] == b"\xed" and held[1:] >= b"\xa0":
            text += self._decoder.decode(b"", final=True)
        return text

    def _bytes(self, token: int) -> bytes:
        """Return what a token stands for, here."""
        if token >= len(self.tables.tokens):
            return b""
        flags = self.tables.token_flags[token]
        hidden = TokenFlag.UNUSED in flags
        hidden |= TokenFlag.CONTROL in flags and not self._show_control
        raw = b"" if hidden else self.tables.tokens[token]
        if raw and self._drop_space:
            self._drop_space = False
            raw = raw.removeprefix(SPACE)
        return raw

    def _give(self, text: str, *, at_end: bool) -> str:
        """Hold back what may become a stop string; end where one is complete."""
        if self.stopped:
            return ""
        text = self._held + text
        found = [
            (text.index(stop) + len(stop), text.index(stop)) for stop in self._stop if stop in text
        ]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)[1]]
        held = 0 if at_end else max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """Return how long the end of the text is that a stop string begins with."""
    most = min(len(text), len(stop) - 1)
    return next((n for n in range(most, 0, -1) if stop.startswith(text[-n:])), 0)


def decode(tables: TokenizerTables, tokens: Iterable[int], *, show_control: bool = False) -> str:
    """Return the whole text of some tokens."""
    return "".join(_pieces(TextStream(tables, show_control=show_control), tokens))


def _pieces(stream: TextStream, tokens: Iterable[int]) -> Iterator[str]:
    for token in tokens:
        yield stream.push(token)
    yield stream.finish()
