"""Which Linux a shared library runs on: that of the oldest glibc with all that it asks for."""

from __future__ import annotations

from bitexport.package.check.elf import Elf

FIRST = (2, 17)
"""Older ones are on no machine that is kept up to date, and none had arm64."""


def oldest_glibc(library: Elf) -> tuple[int, int]:
    """Return the oldest glibc that has every version of a symbol that a library asks for."""
    asked = (name.partition("_") for name in library.versions)
    numbers = (version.split(".") for kind, _, version in asked if kind == "GLIBC")
    return max([FIRST, *((int(major), int(minor)) for major, minor, *_ in numbers)])
