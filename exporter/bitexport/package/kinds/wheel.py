"""--wheel: a Python package of one model: its file, the library, and the binding to that.

The format is https://packaging.python.org/en/latest/specifications/binary-distribution-format/, the
tag for Linux https://peps.python.org/pep-0600/.  Entries are stored, not compressed: the bytes of
the wheel then depend on no version of zlib, and an installer has less to do.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

from bitexport import __version__
from bitexport.emit.manifest import DATA, refuse_network
from bitexport.errors import BundleError, TargetError
from bitexport.package.check.elf import Elf, read_elf
from bitexport.package.glibc import oldest_glibc
from bitexport.package.kind import Kind, Order, fill, licences, slug
from bitexport.toolchain.compile import SHARED, find_library

# What lies in the wheel of our own source; it imports nothing else of ours, and nobody else's.
MODULES = (
    "errors.py", "emit/text_rules.py", "runtime/alone.py", "runtime/library.py", "runtime/model.py",
    "runtime/self_test.py", "runtime/session.py",
)  # fmt: skip
IMPORT = re.compile(r"^(\s*)from bitexport\.(?:[\w.]+\.)?(\w+) import ", re.MULTILINE)
# What PEP 600 calls these machines.
MACHINES = {
    "aarch64-linux-gnu": "aarch64",
    "arm-linux-gnueabihf": "armv7l",
    "x86_64-linux-gnu": "x86_64",
}
OF_GLIBC = re.compile(r"lib(c|dl|m|pthread|rt)\.so\.\d+|ld-linux[\w-]*\.so\.\d+")
BEGINNING = (1980, 1, 1, 0, 0, 0)
MODE = 0o100644
CHUNK = 1 << 20


def write(order: Order) -> None:
    """Write one .whl, which pip installs without a network."""
    target, bundle = order.target, order.bundle
    refuse_network(bundle)
    machine = MACHINES.get(target.triple)
    if machine is None:
        raise TargetError(
            f"--wheel: target `{target.name}` is for {target.triple}, where there is no Python",
            hint=f"the machines are {', '.join(MACHINES)}",
        )
    library = find_library(target, bundle.path).shared
    if library is None:
        raise BundleError(f"{bundle.path}: has no {SHARED}", hint="build it again, with a compiler")
    tag = f"py3-none-{platform_tag(read_elf(library.read_bytes()), machine)}"
    distribution = f"bitexport-{slug(bundle)}"
    package = distribution.replace("-", "_")
    info = f"{package}-{__version__}.dist-info"
    wheel = order.folder / f"{package}-{__version__}-{tag}.whl"
    papers, name = licences(bundle), str(bundle.manifest["model"]["name"])
    values = {
        "NAME": name,
        "NAME_LITERAL": repr(name),
        "DISTRIBUTION": distribution,
        "PACKAGE": package,
        "VERSION": __version__,
        "LIBRARY": SHARED,
        "DATA": DATA,
        "TAG": tag,
        "LICENSE_FILES": "\n".join(f"License-File: {name}" for name in papers),
    }
    filled = {
        name: fill(f"wheel/{name}.in", values).encode()
        for name in ("__init__.py", "__main__.py", "METADATA", "WHEEL")
    }
    write_wheel(
        wheel,
        {
            f"{package}/__init__.py": filled["__init__.py"],
            f"{package}/__main__.py": filled["__main__.py"],
            **{f"{package}/{name}": text.encode() for name, text in _modules(package)},
            f"{package}/py.typed": b"",
            f"{package}/{SHARED}": library,
            f"{package}/{DATA}": bundle.data,
            **{f"{info}/licenses/{name}": path for name, path in papers.items()},
            f"{info}/METADATA": filled["METADATA"],
            f"{info}/WHEEL": filled["WHEEL"],
        },
        f"{info}/RECORD",
    )
    order.progress.say(f"to install it: python -m pip install {wheel.name}")


def platform_tag(library: Elf, machine: str) -> str:
    """Return for which Linux a library is: for one glibc and newer, if it needs nothing else."""
    if any(not OF_GLIBC.fullmatch(needed) for needed in library.needed):
        return f"linux_{machine}"
    major, minor = oldest_glibc(library)
    return f"manylinux_{major}_{minor}_{machine}"


def write_wheel(wheel: Path, entries: Mapping[str, bytes | Path], record: str) -> None:
    """Write entries in their order, then the RECORD; the same entries give the same bytes."""
    lines = []
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in entries.items():
            digest, size = hashlib.sha256(), 0
            with archive.open(_entry(name), "w", force_zip64=_is_large(content)) as output:
                for part in _parts(content):
                    digest.update(part)
                    size += output.write(part)
            hashed = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={hashed},{size}\n")
        archive.writestr(_entry(record), "".join([*lines, f"{record},,\n"]))


def _modules(package: str) -> Iterator[tuple[str, str]]:
    """Yield the modules of the binding, each importing from `package`."""
    ours = Path(str(files("bitexport")))
    names = {Path(module).stem for module in MODULES}

    def renamed(found: re.Match[str]) -> str:
        name = found[2]
        return f"{found[1]}from {package}{'.' + name if name in names else ''} import "

    for module in MODULES:
        text = (ours / module).read_text(encoding="utf-8")
        yield Path(module).name, IMPORT.sub(renamed, text)


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, BEGINNING)
    info.create_system = 3  # Unix, wherever it is written
    info.external_attr = MODE << 16
    return info


def _is_large(content: bytes | Path) -> bool:
    return isinstance(content, Path) and content.stat().st_size >= zipfile.ZIP64_LIMIT


def _parts(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as stream:
        while part := stream.read(CHUNK):
            yield part


KIND = Kind(
    summary="A Python wheel of the model, its library and a binding that needs no other package.",
    write=write,
)
