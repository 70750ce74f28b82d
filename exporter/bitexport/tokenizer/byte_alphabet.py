"""GPT-2's alphabet: a printable character for each byte, in which vocabularies are written."""

from __future__ import annotations

_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_OTHERS = tuple(byte for byte in range(256) if byte not in _PRINTABLE)

BYTE_OF = {chr(byte): byte for byte in _PRINTABLE} | {
    chr(256 + at): byte for at, byte in enumerate(_OTHERS)
}
CHARACTER_OF = {byte: character for character, byte in BYTE_OF.items()}


def to_bytes(text: str) -> bytes | None:
    """Return the bytes that a text in the alphabet stands for; None if it is not in it."""
    if any(character not in BYTE_OF for character in text):
        return None
    return bytes(BYTE_OF[character] for character in text)
