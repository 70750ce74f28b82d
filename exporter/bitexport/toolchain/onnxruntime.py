"""Around the runtime's library: the custom ops of onnxruntime, and a program that runs a graph.

Both are linked against the library that a bundle ships, so that onnxruntime runs the same kernels.
"""

from __future__ import annotations

import importlib.util
import platform
import zipfile
from pathlib import Path

from bitexport.errors import TargetError, ToolchainError
from bitexport.paths import targets_root
from bitexport.targets import Target, find_target, load_flags
from bitexport.toolchain.compile import ARCHIVE, include_folders
from bitexport.toolchain.programs import find_program, run_tool

OPS_LIBRARY = "libbitexport_ort.so"
RUNNER = Path("runner/ort_runner.c")
STANDARD_KERNELS = {("", "Relu"), ("", "Softmax")}
"""Standard ops that the library has too: onnxruntime computes them with other bits, its Relu gives
-0 for -0, its Softmax adds in another order."""
LINKING = (
    "-shared", "-Wl,--no-undefined", f"-Wl,-soname,{OPS_LIBRARY}", "-Wl,--build-id=none",
    "-Wl,--gc-sections", "-Wl,--exclude-libs,ALL",
)  # fmt: skip
ELF_MACHINES = {"x86_64": b"\x3e\x00", "aarch64": b"\xb7\x00"}
MACHINES = {"x86_64": "host", "aarch64": "arm64"}
"""The target of the machine that we are on, by its name in Python."""


def ops_root() -> Path:
    """Return the folder of what onnxruntime needs besides the runtime."""
    return targets_root() / "onnxruntime"


def emulation(target: Target) -> tuple[str, ...]:
    """Return what the emulator of a target is told besides the core.

    onnxruntime asks /proc/cpuinfo and /sys for its cores at start, and stops when they are those of
    this machine: QEMU looks into a folder of ours first.
    """
    if not target.loader:
        return ()
    libraries = f"LD_LIBRARY_PATH={Path(target.loader).parent}"
    return ("-L", str(ops_root() / _machine(target)), "-E", libraries)


def this_machine() -> Target:
    """Return the target that the Python we run in could load a library of."""
    machine = platform.machine()
    if platform.system() != "Linux" or machine not in MACHINES:
        raise TargetError(
            f"there is no target for this machine, {platform.system()} on {machine}",
            hint=f"custom ops for onnxruntime are built for Linux on {', '.join(MACHINES)}",
        )
    return find_target(MACHINES[machine])


def require_onnxruntime(target: Target) -> None:
    """Refuse a target that onnxruntime does not run on."""
    if target.os != "linux" or _machine(target) not in MACHINES:
        raise TargetError(
            f"onnxruntime is not published for target `{target.name}`",
            hint=f"it is for Linux on {', '.join(MACHINES)}: targets host and arm64",
        )


def build_ops_library(target: Target, runtime: Path, output: Path) -> Path:
    """Link the custom ops of onnxruntime into `output`; return that.

    `runtime` holds the runtime's headers and its library, as a bundle does.
    """
    files = sorted(path.name for path in ops_root().glob("*.c"))
    return _compile(target, runtime, [*LINKING, "-fPIC", "-fvisibility=hidden", *files], output)


def build_graph_runner(target: Target, runtime: Path, output: Path) -> Path:
    """Link the program that runs a graph in onnxruntime; return `output`."""
    loading = [f"-Wl,--dynamic-linker={target.loader}"] if target.loader else []
    return _compile(target, runtime, [str(RUNNER), *loading], output)


def onnxruntime_library(target: Target, given: Path | None, folder: Path) -> Path:
    """Return libonnxruntime.so for a target: a file, one out of a wheel, or the one installed here.

    What comes out of a wheel is put into `folder`.
    """
    require_onnxruntime(target)
    if given is None:
        return _installed(target)
    if not given.is_file():
        raise ToolchainError(f"{given}: no such file", hint=_how_to_get(target))
    library = _unpacked(given, folder) if given.suffix == ".whl" else given.resolve()
    if library is None:
        raise ToolchainError(
            f"{given}: holds no libonnxruntime.so, so it is no wheel of onnxruntime for Linux",
            hint=_how_to_get(target),
        )
    with library.open("rb") as file:
        head = file.read(20)
    if head[:4] != b"\x7fELF" or head[18:20] != ELF_MACHINES[_machine(target)]:
        raise ToolchainError(
            f"{given}: is no library for target `{target.name}`", hint=_how_to_get(target)
        )
    return library


def _unpacked(wheel: Path, folder: Path) -> Path | None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if Path(name).name.startswith("libonnxruntime.so"):
                    return Path(archive.extract(name, folder))
    except zipfile.BadZipFile:
        pass
    return None


def _machine(target: Target) -> str:
    return target.triple.partition("-")[0]


def _installed(target: Target) -> Path:
    package = importlib.util.find_spec("onnxruntime")
    if platform.machine() == _machine(target) and package and package.origin:
        found = sorted((Path(package.origin).parent / "capi").glob("libonnxruntime.so*"))
        if found:
            return found[0]
    raise ToolchainError(
        f"there is no onnxruntime for target `{target.name}` here", hint=_how_to_get(target)
    )


def _how_to_get(target: Target) -> str:
    return (
        "pip download --no-deps --only-binary :all: --python-version 3.11 --platform "
        f"manylinux_2_28_{_machine(target)} onnxruntime; then --onnxruntime WHEEL"
    )


def _compile(target: Target, runtime: Path, words: list[str], output: Path) -> Path:
    require_onnxruntime(target)
    flags = load_flags()
    command = [
        find_program(target.compiler, target), *flags.always, *target.flags, *flags.warnings,
        "-pthread", *(f"-I{(runtime / folder).resolve()}" for folder in include_folders(runtime)),
        *words, str((runtime / "lib" / target.name / ARCHIVE).resolve()), "-ldl",
        "-o", str(output.resolve()),
    ]  # fmt: skip
    output.parent.mkdir(parents=True, exist_ok=True)
    doing = f"{target.compiler} for target `{target.name}`, around onnxruntime,"
    run_tool(command, folder=ops_root(), doing=doing)
    return output
