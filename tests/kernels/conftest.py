"""Checking programs: linked against the very library that ships, run on the target's cores."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from bitexport.paths import runtime_root, targets_root
from bitexport.targets import Target, load_flags, load_targets
from bitexport.toolchain.compile import PROGRAMS, Library, include_folders
from bitexport.toolchain.emulate import run
from bitexport.toolchain.programs import find_program, run_tool

HERE = Path(__file__).parent.resolve()
SECONDS = 300.0
CORES = [(target, core) for target in load_targets().values() for core in target.cores]
PLATFORM = {
    "linux": ("runner_posix.c",),
    "none": ("runner_semihosting.c", "runner_bare.c", "start_cortex_m.c"),
}

Facts = list[list[str]]
Check = Callable[[Target, str, str], Facts]


def name_of(place: tuple[Target, str]) -> str:
    """Return the name of a core, and what this machine cannot run of it."""
    target, core = place
    lacking = [f"without-{isa}" for isa in target.cores[core] if target.lacks(isa)]
    return "-".join([target.name, core, *lacking])


@pytest.fixture(params=CORES, ids=name_of)
def place(request: pytest.FixtureRequest) -> tuple[Target, str]:
    """Return each core of each target in turn."""
    each: tuple[Target, str] = request.param
    return each


@pytest.fixture
def target(place: tuple[Target, str]) -> Target:
    """Return the target that the test runs on."""
    return place[0]


@pytest.fixture
def core(place: tuple[Target, str]) -> str:
    """Return the core that the test runs on."""
    return place[1]


@pytest.fixture(scope="session")
def check(
    tmp_path_factory: pytest.TempPathFactory, libraries: Callable[[Target], Library]
) -> Check:
    """Return a function that runs `check_<name>.c` on a core and returns the words it printed."""
    folder = tmp_path_factory.mktemp("checks")

    @functools.cache
    def program(target: Target, name: str) -> Path:
        made = folder / f"{target.name}-{name}"
        link(target, HERE / f"check_{name}.c", libraries(target).archive, made)
        return made

    @functools.cache
    def checked(target: Target, core: str, name: str) -> Facts:
        done = run(target, core, program(target, name), timeout=SECONDS)
        *lines, end = done.stdout.splitlines()
        assert end == "end", f"it stopped early: {done.stdout[-300:]}"
        return [line.split() for line in lines]

    return checked


def link(target: Target, file: Path, library: Path, output: Path) -> None:
    """Link a checking program the way the runner is linked; a warning of the compiler fails."""
    flags, runner = load_flags(), runtime_root() / PROGRAMS
    command = [
        *(find_program(target.compiler, target), *flags.always, *target.flags, *flags.warnings),
        *("-Werror", f"-I{HERE}", f"-I{runner}"),
        *(f"-I{runtime_root() / folder}" for folder in include_folders()),
        str(file),
        *(str(runner / name) for name in PLATFORM[target.os]),
        *(("-pthread",) if target.threads else ()),
    ]
    if target.os == "none":
        command += ["-T", str(targets_root() / target.name / f"{target.name}.ld")]
    command += [*target.link, str(library), "-o", str(output)]
    run_tool(command, folder=HERE, doing=f"linking {output.name}")
