"""From the C runtime to `lib/<target>/libbitexport.a`, and to a program that runs a bundle with it.

The program is linked against the very library that ships: what `verify` saw is what users link.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

from bitexport.errors import BundleError, ToolchainError
from bitexport.paths import runtime_root, targets_root
from bitexport.targets import Flags, Target, load_flags, load_isas
from bitexport.toolchain.programs import find_program, run_tool

ARCHIVE = "libbitexport.a"
SHARED = "libbitexport.so"
SHARED_FLAGS = (
    "-shared",
    "-Wl,--no-undefined",
    f"-Wl,-soname,{SHARED}",
    "-Wl,--build-id=none",
    "-Wl,-Bsymbolic-functions",
)

# What a compiler may call on its own account, even for freestanding code.
COMPILERS_OWN = frozenset({"memcmp", "memcpy", "memmove", "memset"})
LINKERS_OWN = frozenset({"_GLOBAL_OFFSET_TABLE_"})

# Folders of targets/runtime that do not go into the library, whoever the target is.
PROGRAMS = "runner"
EXTRAS = "extras"

RUNNER = "runner.c"
MACHINE_FILES = {
    "linux": ("runner_posix.c",),
    "none": ("runner_semihosting.c", "runner_bare.c", "start_cortex_m.c", "blob.S"),
}
SERIAL_FILES = (
    "talk_serial.c", "runner_serial.c", "uart_cmsdk.c", "runner_bare.c", "start_cortex_m.c",
    "blob.S",
)  # fmt: skip
"""Beside runner.c, of a program that stays on a board and is asked over a serial line."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """One C file of the runtime, and the instruction set that it may use."""

    path: Path  # relative to the source root
    isa: str = "scalar"
    flags: tuple[str, ...] = ()  # besides those that every file of the target gets


@dataclasses.dataclass(frozen=True, kw_only=True)
class Library:
    """The runtime, built for one target."""

    target: Target
    archive: Path
    shared: Path | None
    warnings: str = ""  # what the compiler said while it built; empty is the rule of the house


def sources(target: Target, source_root: Path | None = None) -> tuple[Source, ...]:
    """Return the files of the library for a target, in a fixed order.

    Every C file below the source root belongs to it, but for three kinds: one named for an
    instruction set that the target lacks (`*_<isa>.c`), one that detects them in another way than
    the target (`isa_<detection>.c`), and one of `extras/` where there is no operating system.
    """
    root = source_root or runtime_root()
    isas = load_isas()
    taken = []
    for path in sorted(path.relative_to(root) for path in root.rglob("*.c")):
        first, _, rest = path.stem.partition("_")
        last = path.stem.rpartition("_")[2]
        isa = isas.get(last) or isas["scalar"]
        if (
            PROGRAMS in path.parts
            or isa.name not in target.isas
            or (first == "isa" and rest != target.detection)
            or (EXTRAS in path.parts and target.os == "none")
        ):
            continue
        taken.append(Source(path=path, isa=isa.name, flags=target.flags_of(isa)))
    return tuple(taken)


def include_folders(source_root: Path | None = None) -> tuple[Path, ...]:
    """Return the folders that hold headers, relative to the source root, in a fixed order."""
    root = source_root or runtime_root()
    folders = {path.parent.relative_to(root) for path in root.rglob("*.h")}
    return tuple(sorted(folder for folder in folders if PROGRAMS not in folder.parts))


def defines(target: Target) -> tuple[str, ...]:
    """Return the macros that tell the runtime for which instruction sets it has kernels."""
    isas = load_isas()
    return tuple(isas[name].define for name in target.isas)


def build_library(
    target: Target, source_root: Path, output: Path, macros: Sequence[str] = (), *,
    link_shared: bool = True,
) -> Library:  # fmt: skip
    """Compile the runtime found below source_root into `output/lib/<target>/`.

    The same sources, flags, macros and compiler give the same bytes.
    """
    files = sources(target, source_root)
    if not files:
        raise BundleError(f"{source_root}: there is no C file here for target `{target.name}`")
    folder = output / "lib" / target.name
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / ARCHIVE
    shared = folder / SHARED if link_shared and target.os == "linux" else None
    with tempfile.TemporaryDirectory(prefix="bitexport-") as scratch:
        objects = [Path(scratch) / f"{file.path.stem}.o" for file in files]
        flags = library_flags(target, source_root, macros)

        def compile_one(file: Source, output: Path) -> str:
            return _compile(target, file.path, output, (*flags, *file.flags), source_root)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            said = list(pool.map(compile_one, files, objects))
        archive.unlink(missing_ok=True)
        names = [each.name for each in objects]
        _run(target, [target.archiver, "crsD", str(archive.resolve()), *names], Path(scratch))
        if shared is not None:
            said.append(_link_shared(target, names, shared, Path(scratch)))
    if target.os == "none":
        _refuse_dependencies(target, archive)
    warnings = "".join(said)
    return Library(target=target, archive=archive, shared=shared, warnings=warnings)


def find_library(target: Target, bundle: Path) -> Library:
    """Return the library that a bundle ships for a target."""
    folder = bundle / "lib" / target.name
    if not (folder / ARCHIVE).is_file():
        raise BundleError(
            f"{bundle}: holds no library for target `{target.name}`",
            hint=f"build the bundle with `--target {target.name}`",
        )
    shared = folder / SHARED
    return Library(
        target=target, archive=folder / ARCHIVE, shared=shared if shared.is_file() else None
    )


def build_runner(
    target: Target, library: Library, bundle: Path, output: Path, *, main: str = RUNNER,
    shared: bool = False, machine_files: Sequence[str] | None = None,
) -> Path:  # fmt: skip
    """Link a program of targets/runtime/runner against a library; return the program `output`.

    Where there is an operating system the runner reads `bundle/model.bitx`; where there is none
    the file is part of the program.  With `shared` it loads the shared library where that lies.
    `machine_files` are those between the program and the machine, where they are not the usual.
    """
    flags = load_flags()
    blob = (bundle / "model.bitx").resolve()
    command = [
        *(target.compiler, *flags.always, *target.flags, *flags.warnings, *_threads(target)),
        *(f"-I{folder}" for folder in _runner_includes(bundle)),
        *(main, *(machine_files or MACHINE_FILES[target.os])),
    ]
    if target.os == "none":
        script = targets_root() / target.name / f"{target.name}.ld"
        command += [*flags.library, f'-DBITX_BLOB_PATH="{blob}"', "-T", str(script)]
    if shared:
        assert library.shared is not None, target.name
        command += [*_loading(target, library.shared), str(library.shared.resolve())]
    else:
        command += [*target.link, str(library.archive.resolve())]
    command += ["-o", str(output.resolve())]
    output.parent.mkdir(parents=True, exist_ok=True)
    _run(target, command, runtime_root() / PROGRAMS)
    return output


def undefined_symbols(target: Target, archive: Path) -> frozenset[str]:
    """Return the names that a static library uses and does not define."""
    defined, used = set(), set()
    lines = _run(target, [target.symbol_lister, "-P", str(archive.resolve())], archive.parent)
    for line in lines.stdout.splitlines():
        match line.split():
            case [name, "U" | "w" | "v", *_]:
                used.add(name)
            case [name, kind, *_] if kind.isupper():
                defined.add(name)
    return frozenset(used - defined - LINKERS_OWN)


def library_flags(target: Target, source_root: Path, macros: Sequence[str] = ()) -> tuple[str, ...]:
    """Return what every file of the library is compiled with, run from the source root."""
    common: Flags = load_flags()
    return (
        *(*common.always, *common.library, *target.flags, *common.warnings, *_threads(target)),
        *(f"-D{name}" for name in (*defines(target), *macros)),
        *(f"-I{folder}" for folder in include_folders(source_root)),
    )


def _compile(target: Target, source: Path, output: Path, flags: Sequence[str], folder: Path) -> str:
    """Compile one file; return the compiler's warnings."""
    command = [target.compiler, *flags, "-c", str(source), "-o", str(output)]
    return _run(target, command, folder).stderr


def _link_shared(target: Target, objects: Sequence[str], output: Path, folder: Path) -> str:
    """Link the shared library; return the linker's warnings."""
    command = [target.compiler, *target.flags, *SHARED_FLAGS, *_threads(target), *objects]
    return _run(target, [*command, "-o", str(output.resolve())], folder).stderr


def _run(target: Target, command: Sequence[str], folder: Path) -> CompletedProcess[str]:
    program = find_program(command[0], target)
    doing = f"{command[0]} for target `{target.name}`"
    return run_tool([program, *command[1:]], folder=folder, doing=doing)


def _refuse_dependencies(target: Target, archive: Path) -> None:
    """Fail when code for bare metal calls anything but what a compiler calls by itself."""
    if foreign := undefined_symbols(target, archive) - COMPILERS_OWN:
        raise ToolchainError(
            f"the library for target `{target.name}` needs {', '.join(sorted(foreign))}",
            hint=f"without an operating system it may call only {', '.join(sorted(COMPILERS_OWN))}",
        )


def _loading(target: Target, library: Path) -> list[str]:
    """Return how a program finds its libraries when it starts, also in an emulator."""
    folders = [str(library.resolve().parent)]
    words = []
    if target.loader:
        folders.append(str(Path(target.loader).parent))
        words.append(f"-Wl,--dynamic-linker={target.loader}")
    # -Wl, would cut a path at its commas.
    return [*words, *(word for f in folders for word in ("-Xlinker", "-rpath", "-Xlinker", f))]


def _threads(target: Target) -> tuple[str, ...]:
    return ("-pthread",) if target.threads else ()


def _runner_includes(bundle: Path) -> tuple[Path, ...]:
    """Return where the runner finds headers: the bundle's own, for the bundle's own library."""
    return tuple((bundle / folder).resolve() for folder in include_folders(bundle))
