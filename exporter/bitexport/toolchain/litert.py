"""Link the delegate that lets LiteRT run a plan, around the library that a bundle ships."""

from __future__ import annotations

import sys
from pathlib import Path

from bitexport.errors import TargetError, ToolchainError
from bitexport.paths import targets_root
from bitexport.targets import Target, load_flags
from bitexport.toolchain.compile import ARCHIVE, include_folders
from bitexport.toolchain.programs import find_program, run_tool

DELEGATE = "libbitexport_litert.so"
LINKING = (
    "-shared", "-fPIC", "-fvisibility=hidden", "-Wl,--no-undefined", f"-Wl,-soname,{DELEGATE}",
    "-Wl,--build-id=none", "-Wl,--gc-sections", "-Wl,--exclude-libs,ALL",
)  # fmt: skip


OLD_RUNTIME = "tflite-runtime==2.14.0"
"""The last release under the old name; its numpy is older than ours."""
LAST_PYTHON = (3, 11)
"""That it was published for."""


def find_old_runtime(python: tuple[int, int] = sys.version_info[:2]) -> Path:
    """Return the Python of the environment that has tflite-runtime, or say why there is none.

    It lies beside the one that we run in, where .ci/setup puts it.
    """
    if python > LAST_PYTHON:
        raise ToolchainError(
            f"{OLD_RUNTIME} is not supported by upstream on Python {python[0]}.{python[1]}: it was "
            f"published up to {LAST_PYTHON[0]}.{LAST_PYTHON[1]}",
            hint="ai-edge-litert, which follows it, runs the same file",
        )
    folder = Path(sys.prefix) / "tflite-runtime"
    found = folder / "bin" / "python"
    if not found.exists():
        raise ToolchainError(
            f"there is no environment with {OLD_RUNTIME} at {folder}",
            hint=f"{sys.executable} -m venv {folder} && "
            f"{folder}/bin/pip install {OLD_RUNTIME} 'numpy<2'",
        )
    return found


def delegate_root() -> Path:
    """Return the folder of what LiteRT needs besides the runtime."""
    return targets_root() / "litert"


def require_loader(target: Target) -> None:
    """Refuse a target without an operating system: LiteRT loads a delegate from a file."""
    if target.os != "linux":
        raise TargetError(
            f"target `{target.name}` has no operating system that could load a delegate of LiteRT",
            hint="--tflite custom is for targets with Linux, `host` and `arm64` among them",
        )


def build_delegate(target: Target, runtime: Path, output: Path) -> Path:
    """Link the delegate into `output`; return that.

    `runtime` holds the runtime's headers and its library, as a bundle does.
    """
    require_loader(target)
    flags, root = load_flags(), delegate_root()
    includes = (f"-I{(runtime / folder).resolve()}" for folder in include_folders(runtime))
    command = [
        find_program(target.compiler, target), *flags.always, *target.flags, *flags.warnings,
        "-pthread", *includes, *LINKING, *sorted(path.name for path in root.glob("*.c")),
        str((runtime / "lib" / target.name / ARCHIVE).resolve()), "-o", str(output.resolve()),
    ]  # fmt: skip
    output.parent.mkdir(parents=True, exist_ok=True)
    doing = f"{target.compiler} for target `{target.name}`, around LiteRT,"
    run_tool(command, folder=root, doing=doing)
    return output
