"""The pool runs every index exactly once, without a data race, whoever calls it and how often."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.kernels.patterns import random_bytes

from bitexport.paths import runtime_root
from bitexport.targets import Target, find_target, load_flags, load_targets
from bitexport.toolchain.compile import EXTRAS, PROGRAMS, include_folders

Check = Callable[[Target, str, str], list[list[str]]]

THREADS = (1, 2, 3, 8)
PLACES = [
    (target, core) for target in load_targets().values() if target.threads for core in target.cores
]


def indices(jobs: int, seed: int) -> int:
    """Return how many indices check_threads.c spreads over so many jobs."""
    return int(random_bytes(seed, jobs).sum()) if jobs else 0


EXPECTED = {
    (kind, threads): (jobs, count)
    for threads in THREADS
    for kind, jobs, count in (
        ("alone", 1500, indices(1500, threads)),
        ("nested", 100, indices(100, threads)),
        ("together", 900, sum(indices(300, seed) for seed in range(3))),
        ("short", 99, sum(indices(life % 3, life) for life in range(100))),
    )
}


def judge(said: list[list[str]]) -> None:
    found = {(kind, int(threads)): tuple(map(int, rest)) for kind, threads, *rest in said}
    assert found == {case: (jobs, count, count) for case, (jobs, count) in EXPECTED.items()}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0].name}-{place[1]}")
def test_every_index_runs_exactly_once(check: Check, target: Target, core: str) -> None:
    judge(check(target, core, "threads"))


def test_there_is_no_data_race(tmp_path: Path) -> None:
    """The host's own ThreadSanitizer; emulated cores hide a missing barrier."""
    target, flags, root = find_target("host"), load_flags(), runtime_root()
    here = Path(__file__).parent.resolve()
    program = tmp_path / "check_threads"
    command = [
        *(target.compiler, *flags.always, *flags.warnings, "-Werror", "-g", "-fsanitize=thread"),
        *(f"-I{folder}" for folder in (here, root / PROGRAMS)),
        *(f"-I{root / folder}" for folder in include_folders()),
        str(here / "check_threads.c"),
        str(root / PROGRAMS / "runner_posix.c"),
        *(str(file) for file in sorted((root / EXTRAS).glob("*.c"))),
        *("-pthread", "-o", str(program)),
    ]
    subprocess.run(command, check=True)
    done = subprocess.run(
        [program], capture_output=True, text=True, check=False, env={}, timeout=300
    )
    assert done.returncode == 0, done.stderr[:4000]
    *lines, end = done.stdout.splitlines()
    assert end == "end"
    judge([line.split() for line in lines])
