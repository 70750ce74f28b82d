"""--linux: a tree to install below `/`, which `dpkg-deb` makes a package of."""

from __future__ import annotations

from pathlib import Path

from bitexport import __version__
from bitexport.emit.manifest import DATA
from bitexport.errors import TargetError
from bitexport.package.check.elf import read_elf
from bitexport.package.glibc import oldest_glibc
from bitexport.package.kind import Kind, Order, copy, licences, slug, write_filled
from bitexport.paths import packages_root
from bitexport.toolchain.compile import ARCHIVE, SHARED, find_library

ROOT = "root"
HEADERS = ("include", "extras")
EXAMPLES = ("linux/CMakeLists.txt", "cmake/self_test_program.c")
# What Debian calls the machines of these compilers (`dpkg-architecture`).
ARCHITECTURES = {
    "aarch64-linux-gnu": "arm64",
    "arm-linux-gnueabihf": "armhf",
    "x86_64-linux-gnu": "amd64",
}
MAINTAINER = "Unknown <unknown@localhost>"


def write(order: Order) -> None:
    """Write `root/`: headers, both libraries, the model, pkg-config and CMake files, DEBIAN/."""
    target, bundle = order.target, order.bundle
    architecture = ARCHITECTURES.get(target.triple)
    if architecture is None:
        raise TargetError(
            f"--linux: target `{target.name}` is for {target.triple}, which is no Debian machine",
            hint=f"the machines are {', '.join(ARCHITECTURES)}",
        )
    library = find_library(target, bundle.path)
    if library.shared is None:
        raise TargetError(
            f"--linux: the bundle has no {SHARED}", hint="build it again, with a compiler"
        )
    root, model = order.folder / ROOT, slug(bundle)
    usr = root / "usr"
    lib = usr / "lib" / target.triple
    for folder in HEADERS:
        for header in sorted((bundle.path / folder).glob("*.h")):
            copy(header, usr / "include" / "bitexport" / header.name)
    copy(library.archive, lib / ARCHIVE)
    copy(library.shared, lib / SHARED)
    copy(bundle.data, usr / "share" / "bitexport" / model / DATA)
    doc = usr / "share" / "doc" / f"bitexport-{model}"
    for name, path in licences(bundle).items():
        copy(path, doc / name)
    for template in EXAMPLES:
        copy(packages_root() / template, doc / "examples" / Path(template).name)
    values = {
        "TRIPLE": target.triple,
        "TARGET": target.name,
        "MODEL": model,
        "NAME": bundle.manifest["model"]["name"],
        "VERSION": __version__,
        "MINOR": ".".join(__version__.split(".")[:2]),
        "POINTER_BYTES": target.pointer_bytes,
        "ARCHITECTURE": architecture,
        "MAINTAINER": MAINTAINER,
        "GLIBC": "{}.{}".format(*oldest_glibc(read_elf(library.shared.read_bytes()))),
    }
    write_filled(lib / "pkgconfig" / "bitexport.pc", "linux/bitexport.pc.in", values)
    for name in ("bitexport-config.cmake", "bitexport-config-version.cmake"):
        write_filled(lib / "cmake" / "bitexport" / name, f"linux/{name}.in", values)
    values["KIBIBYTES"] = _kibibytes(usr)
    write_filled(root / "DEBIAN" / "control", "linux/control.in", values)
    (root / "DEBIAN").chmod(0o755)
    order.progress.say(
        f"for a .deb: dpkg-deb --root-owner-group --build {ROOT} (Maintainer is yours to fill in)"
    )


def _kibibytes(folder: Path) -> int:
    return sum((path.stat().st_size + 1023) // 1024 for path in folder.rglob("*") if path.is_file())


KIND = Kind(
    summary="A tree to install, for dpkg-deb too: headers, libraries, pkg-config and CMake files.",
    write=write,
)
