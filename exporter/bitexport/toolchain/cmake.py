"""What CMake must know of a target: lists of files and flags, no logic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bitexport.targets import Target, load_flags, load_isas
from bitexport.toolchain.compile import defines, include_folders, sources


def cmake_lists(target: Target, source_root: Path | None = None, macros: Sequence[str] = ()) -> str:
    """Return the text of `sources.cmake`, its paths relative to the source root.

    BITX_SOURCES are compiled with BITX_FLAGS; BITX_<ISA>_SOURCES, for every name in BITX_ISAS, with
    BITX_FLAGS and then BITX_<ISA>_FLAGS.
    """
    flags = load_flags()
    files = sources(target, source_root)
    isas = load_isas()
    special = [isas[name] for name in target.isas if name != "scalar"]
    lists: dict[str, Sequence[str]] = {
        "BITX_SOURCES": [file.path.as_posix() for file in files if file.isa == "scalar"],
        "BITX_INCLUDES": [folder.as_posix() for folder in include_folders(source_root)],
        "BITX_FLAGS": [*flags.always, *flags.library, *target.flags],
        "BITX_DEFINES": [*defines(target), *macros],
        "BITX_ISAS": [isa.name.upper() for isa in special],
    }
    for isa in special:
        own = [file.path.as_posix() for file in files if file.isa == isa.name]
        lists[f"BITX_{isa.name.upper()}_SOURCES"] = own
        lists[f"BITX_{isa.name.upper()}_FLAGS"] = target.flags_of(isa)
    head = f"# The runtime's files and flags for target {target.name}: {target.summary}.\n"
    return head + "".join(_list(name, words) for name, words in lists.items())


def _list(name: str, words: Iterable[str]) -> str:
    return f"\nset({name}" + "".join(f"\n    {word}" for word in words) + ")\n"
