"""`libbitexport.so` as Android loads it: JNI, no dependency but bionic's libc, pages of 16 KiB."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from bitexport.emit.manifest import Bundle
from bitexport.package.native import has_our_headers
from bitexport.paths import runtime_root, targets_root
from bitexport.targets import Target, find_target, load_flags
from bitexport.toolchain.compile import ARCHIVE, EXTRAS, SHARED, build_library
from bitexport.toolchain.programs import find_program, run_tool

PAGE_BYTES = 16384

# How everything that includes a header of the system is compiled; _bionic() adds where those lie.
BIONIC_FLAGS = ("-fPIC", "-fno-stack-protector", "-nostdinc")
LINK_FLAGS = (
    *("-shared", "-nostdlib", "-Wl,--no-undefined", f"-Wl,-soname,{SHARED}"),
    *("-Wl,--build-id=sha1", "-Wl,-Bsymbolic-functions", "-Wl,--hash-style=both"),
    *(f"-Wl,-z,max-page-size={PAGE_BYTES}", f"-Wl,-z,common-page-size={PAGE_BYTES}"),
    *("-Wl,-z,noexecstack", "-Wl,-z,relro", "-Wl,-z,now"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Abi:
    """One table of abis.toml."""

    name: str
    target: Target
    flags: tuple[str, ...] = ()
    """Besides the target's: another calling convention, so no archive of the target fits."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AndroidLibrary:
    """The library of one ABI."""

    abi: Abi
    shared: Path
    """As it ships, stripped."""
    symbols: Path
    """The same with its symbols, for whoever reads a stack trace."""
    warnings: str = ""


def android_root() -> Path:
    """Return where the files for Android lie."""
    return targets_root() / "android"


def load_abis() -> dict[str, Abi]:
    """Read abis.toml: the ABIs by name, in the order of the file."""
    said = tomllib.loads((android_root() / "abis.toml").read_text(encoding="utf-8"))
    return {
        name: Abi(
            name=name, target=find_target(table["target"]), flags=tuple(table.get("flags", ()))
        )
        for name, table in said.items()
    }


def verified_archive(abi: Abi, bundles: Iterable[Bundle]) -> Path | None:
    """Return the archive that a bundle ships for this ABI's target, the one that `verify` runs.

    None where no bundle has one that this version's JNI can be linked with.
    """
    name = f"lib/{abi.target.name}/{ARCHIVE}"
    for bundle in bundles:
        if not abi.flags and name in bundle.manifest["files"] and has_our_headers(bundle.path):
            return bundle.path / name
    return None


def build_android_library(abi: Abi, archive: Path | None, output: Path) -> AndroidLibrary:
    """Link the library of an ABI into `output/jni/<abi>/`, its symbols into `output/symbols/<abi>`.

    The runtime is that of an archive for the ABI's target, or else compiled here.
    """
    shared = output / "jni" / abi.name / SHARED
    symbols = output / "symbols" / abi.name / SHARED
    for path in (shared, symbols):
        path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bitexport-") as scratch:
        folder = Path(scratch)
        said = _core(abi, archive, folder / ARCHIVE)
        said += _compile(abi, folder)
        said += _link(abi, folder, symbols)
    tool = f"{abi.target.archiver.removesuffix('ar')}strip"
    _run(abi, [tool, "--strip-unneeded", "-o", str(shared), str(symbols)], output)
    return AndroidLibrary(abi=abi, shared=shared, symbols=symbols, warnings=said)


def _core(abi: Abi, given: Path | None, archive: Path) -> str:
    """Put the runtime without `extras/` in its place; return the compiler's warnings."""
    said = ""
    if given is not None:
        shutil.copyfile(given, archive)
    else:
        target = abi.target
        if abi.flags:  # glibc has headers for one calling convention
            flags = (*target.flags, *_bionic(abi), *abi.flags)
            target = dataclasses.replace(target, flags=flags)
        built = build_library(target, runtime_root(), archive.parent, link_shared=False)
        said = built.warnings
        built.archive.rename(archive)
    extras = [f"{path.stem}.o" for path in _extras()]
    _run(abi, [abi.target.archiver, "dD", archive.name, *extras], archive.parent)
    return said


def _compile(abi: Abi, folder: Path) -> str:
    """Compile JNI and `extras/` against bionic; return the compiler's warnings."""
    flags = load_flags()
    words = [
        *(abi.target.compiler, *flags.always, *flags.library, *flags.warnings),
        *(*abi.target.flags, *_bionic(abi), *abi.flags),
        *(f"-I{runtime_root() / name}" for name in ("include", EXTRAS)),
    ]
    sources = [*sorted((android_root() / "jni").glob("*.c")), *_extras()]
    return "".join(
        _run(abi, [*words, "-c", str(source), "-o", f"{source.stem}.o"], folder)
        for source in sources
    )


def _link(abi: Abi, folder: Path, output: Path) -> str:
    """Link everything against the names of bionic's libc; return the linker's warnings."""
    objects = sorted(path.name for path in folder.glob("*.o"))
    stub = [abi.target.compiler, "-shared", "-nostdlib", "-Wl,-soname,libc.so", "-o", "libc.so"]
    said = _run(abi, [*stub, str(android_root() / "libc" / "libc_stub.S")], folder)
    command = [abi.target.compiler, *abi.target.flags, *abi.flags, *LINK_FLAGS]
    command += [f"-Wl,--version-script={android_root() / 'exports.map'}", *objects]
    command += ["-Wl,--whole-archive", ARCHIVE, "-Wl,--no-whole-archive", "libc.so", "-lgcc"]
    return said + _run(abi, [*command, "-o", str(output.resolve())], folder)


def _extras() -> list[Path]:
    return sorted((runtime_root() / EXTRAS).glob("*.c"))


def _bionic(abi: Abi) -> tuple[str, ...]:
    """Return the flags that show bionic's headers, and the compiler's own, and no others."""
    compiler = find_program(abi.target.compiler, abi.target)
    asked = run_tool(
        [compiler, "-print-file-name=include"], folder=runtime_root(), doing=abi.target.compiler
    )
    folders = (asked.stdout.strip(), str(android_root() / "libc"))
    return (*BIONIC_FLAGS, *(word for folder in folders for word in ("-isystem", folder)))


def _run(abi: Abi, command: Sequence[str], folder: Path) -> str:
    """Run a tool of the target; return what it said on stderr."""
    program = find_program(command[0], abi.target)
    doing = f"{command[0]} for Android's {abi.name}"
    return run_tool([program, *command[1:]], folder=folder, doing=doing).stderr
