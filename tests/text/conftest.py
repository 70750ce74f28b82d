"""Cases for the text functions, run on every core that we emulate."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.kernels.conftest import HERE as KERNELS
from tests.kernels.conftest import PLATFORM

from bitexport.paths import runtime_root, targets_root
from bitexport.targets import Target, find_target, load_flags, load_targets
from bitexport.toolchain.compile import (
    EXTRAS,
    PROGRAMS,
    Library,
    include_folders,
    library_flags,
)
from bitexport.toolchain.emulate import TIMEOUT_SECONDS, run
from bitexport.toolchain.programs import find_program, run_tool

HERE = Path(__file__).parent.resolve()
CORES = [(target, core) for target in load_targets().values() for core in target.cores]
TEXT = Path("src/text")
CORE = ("src/sha256.c", "src/floats.c", "src/generate/sample.c")
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

Replay = Callable[[Sequence[bytes]], list[str]]


@pytest.fixture(params=CORES, ids=lambda place: f"{place[0].name}-{place[1]}")
def place(request: pytest.FixtureRequest) -> tuple[Target, str]:
    """Return each core of each target in turn."""
    each: tuple[Target, str] = request.param
    return each


@pytest.fixture
def replay(
    place: tuple[Target, str], libraries: Callable[[Target], Library], tmp_path: Path
) -> Replay:
    """Return a function that does what cases ask on a core, and returns the lines printed."""
    target, core = place
    return lambda cases: _replay(libraries(target), core, cases, tmp_path)


def replay_on_host(
    libraries: Callable[[Target], Library],
    cases: Sequence[bytes],
    folder: Path,
    timeout: float = TIMEOUT_SECONDS,
) -> list[str]:
    """Do what cases ask on this machine."""
    return _replay(libraries(find_target("host")), "native", cases, folder, timeout)


def _replay(
    library: Library,
    core: str,
    cases: Sequence[bytes],
    folder: Path,
    timeout: float = TIMEOUT_SECONDS,
) -> list[str]:
    blob, program = folder / "cases.bin", folder / "cases"
    blob.write_bytes(b"".join(cases))
    _link(library.target, library.archive, blob, program)
    return ended(run(library.target, core, program, [str(blob)], timeout).stdout)


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that builds a program of tests/text from the runtime, sanitizers on."""
    folder = tmp_path_factory.mktemp("sanitized")
    host = find_target("host")

    @functools.cache
    def build(name: str) -> Path:
        own = [HERE / "check_cases.c"]
        own += {
            "check_cases": [
                runtime_root() / PROGRAMS / "runner_posix.c",
                *sorted((runtime_root() / EXTRAS).glob("*.c")),
            ],
            "fuzz_cases": [HERE / "fuzz_cases.c"],
        }[name]
        core = [TEXT / file.name for file in sorted((runtime_root() / TEXT).glob("*.c"))]
        command = [
            *(find_program(host.compiler, host), *library_flags(host, runtime_root())),
            *("-DFUZZ_ALONE", "-Werror", "-O1", *SANITIZERS),
            *(f"-I{KERNELS}", f"-I{PROGRAMS}", *map(str, core), *CORE, *map(str, own)),
            *("-o", str(folder / name)),
        ]
        run_tool(command, folder=runtime_root(), doing=f"building {name}")
        return folder / name

    return build


def ended(said: str) -> list[str]:
    """Return the lines of a program that came to its end."""
    *lines, end = said.splitlines()
    assert end == "end", f"it stopped early: {said[-300:]}"
    return lines


def _link(target: Target, library: Path, blob: Path, output: Path) -> None:
    flags, runner = load_flags(), runtime_root() / PROGRAMS
    command = [
        *(find_program(target.compiler, target), *flags.always, *target.flags, *flags.warnings),
        *("-Werror", f"-I{KERNELS}", f"-I{runner}"),
        *(f"-I{runtime_root() / folder}" for folder in include_folders()),
        str(HERE / "check_cases.c"),
        *(str(runner / name) for name in PLATFORM[target.os]),
        *(("-pthread",) if target.threads else ()),
    ]
    if target.os == "none":
        script = targets_root() / target.name / f"{target.name}.ld"
        command += [f'-DBITX_BLOB_PATH="{blob}"', str(runner / "blob.S"), "-T", str(script)]
    command += [*target.link, str(library), "-o", str(output)]
    run_tool(command, folder=HERE, doing=f"linking {output.name}")
