"""--cmake: the runtime as one C file and one header, the model, and the file that builds them."""

from __future__ import annotations

import re
from pathlib import Path

from bitexport import __version__
from bitexport.emit.manifest import DATA
from bitexport.package.amalgamation import amalgamate
from bitexport.package.kind import Kind, Order, copy, licences, slug, write_filled
from bitexport.paths import packages_root
from bitexport.targets import load_flags

DEFINES = re.compile(r"set\(BITX_DEFINES\n(.*?)\)", re.DOTALL)


def write(order: Order) -> None:
    """Write bitexport.c, bitexport.h, model.bitx, what needs an operating system, CMakeLists.txt.

    The source is the bundle's own.
    """
    target, bundle, flags = order.target, order.bundle, load_flags()
    for name, text in amalgamate(target, bundle.path, kept(bundle.path)).items():
        (order.folder / name).write_text(text, encoding="utf-8")
    copy(bundle.data, order.folder / DATA)
    for path in licences(bundle).items():
        copy(path[1], order.folder / path[0])
    if target.os == "linux":
        for extra in sorted((bundle.path / "extras").iterdir()):
            copy(extra, order.folder / "extras" / extra.name)
        program = packages_root() / "cmake" / "self_test_program.c"
        copy(program, order.folder / program.name)
    values = {
        "NAME": bundle.manifest["model"]["name"],
        "TARGET": target.name,
        "PROJECT": f"bitexport_{slug(bundle).replace('-', '_')}",
        "VERSION": __version__,
        "FLAGS": "\n    ".join([*flags.always, *flags.library, *target.flags]),
    }
    write_filled(order.folder / "CMakeLists.txt", "cmake/CMakeLists.txt.in", values)


def kept(bundle: Path) -> tuple[str, ...]:
    """Return the macros, as NAME=VALUE, that say what a library for one model alone must hold."""
    said = DEFINES.search((bundle / "sources.cmake").read_text(encoding="utf-8"))
    words = said[1].split() if said else []
    return tuple(word for word in words if "=" in word)


KIND = Kind(
    summary="One C file and one header, with the CMakeLists.txt that builds them.", write=write
)
