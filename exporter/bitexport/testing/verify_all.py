"""`bitexport verify --all`: the jobs of a folder, run and reported."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click

from bitexport.errors import BitexportError, MismatchError, TargetError
from bitexport.evaluate.spread import cores as available_cores
from bitexport.evaluate.spread import map_on_cluster
from bitexport.testing.matrix import (
    QUICK,
    Found,
    Job,
    Task,
    find_jobs,
    jobs_of,
    keep_found,
    load_found,
    run_here,
    run_job,
)
from bitexport.testing.matrix_file import read_matrix

AnyTask = TypeVar("AnyTask", bound=Task)


def words_of(options: Mapping[str, str | int | Sequence[int] | None], *, quick: bool) -> list[str]:
    """Return options that were given as the words of a command line."""
    words = [QUICK] if quick else []
    for name, value in options.items():
        if value is not None:
            text = value if isinstance(value, str | int) else ",".join(map(str, value))
            words += [f"{name}={text}"]
    return words


Run = tuple[int | None, str | None]
"""Processes at a time on this machine, or the address of a dask scheduler."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the report: a bundle on a core."""

    bundle: str
    core: str
    found: Found

    @property
    def name(self) -> str:
        """Say what was run."""
        return f"{self.bundle} {self.core}"


def verify_all(
    place: Path, cores: Sequence[str], words: Sequence[str], run: Run, say: Callable[[str], None],
    *, as_json: bool,
) -> None:  # fmt: skip
    """Run every bundle below a folder, or of a matrix, on every core; report all, in order.

    What an earlier run built, or found equal, is not done again.
    """
    if place.suffix == ".toml":
        rows = _rows_of_matrix(place, cores, words, run, say)
    else:
        rows = _rows(place, find_jobs(place, cores, words), run, say)
    if as_json:
        facts = [
            {"bundle": row.bundle, "core": row.core, **dataclasses.asdict(row.found)}
            for row in rows
        ]
        click.echo(json.dumps(facts, indent=2))
    else:
        width = max(len(row.name) for row in rows)
        for row in rows:
            click.echo(f"{row.name:{width}} {row.found.line}")
    if failed := [row for row in rows if row.found.code]:
        wrong = [row for row in failed if row.found.code == MismatchError.exit_code]
        first = (wrong or failed)[0]
        kind = MismatchError if wrong else BitexportError
        raise kind(f"{len(failed)} of {len(rows)} jobs failed; {first.name}: {first.found.said}")


def _rows_of_matrix(
    path: Path, cores: Sequence[str], words: Sequence[str], run: Run, say: Callable[[str], None]
) -> list[Row]:
    """Build what is missing, then run it; a bundle that was not built fails on each core."""
    folder, builds = read_matrix(path)
    known = dict.fromkeys(core for build in builds for core in build.cores)
    if unknown := [core for core in cores if core not in known]:
        raise TargetError(
            f"{path}: nothing runs on {unknown[0]}", hint=f"its cores are {', '.join(known)}"
        )
    builds = [
        dataclasses.replace(build, cores=chosen)
        for build in builds
        if (chosen := tuple(core for core in build.cores if core in cores or not cores))
    ]
    names = [_bundle_name(folder, build.bundle) for build in builds]
    built = _run(folder, builds, names, run, say, "built")
    jobs: list[Job] = []
    for build in builds:
        if not built[build].code:
            jobs += jobs_of(Path(build.bundle), build.cores, words)
    ran = {(row.bundle, row.core): row for row in _rows(folder, jobs, run, say)}
    rows = []
    for build, name in zip(builds, names, strict=True):
        failed = dataclasses.replace(built[build], said=f"not built: {built[build].said}")
        rows += [ran.get((name, core)) or Row(name, core, failed) for core in build.cores]
    return rows


def _rows(folder: Path, jobs: Sequence[Job], run: Run, say: Callable[[str], None]) -> list[Row]:
    names = [_bundle_name(folder, job.bundle) for job in jobs]
    told = [f"{name} {job.core}" for name, job in zip(names, jobs, strict=True)]
    found = _run(folder, jobs, told, run, say, "found equal")
    return [Row(name, job.core, found[job]) for name, job in zip(names, jobs, strict=True)]


def _run(
    folder: Path, tasks: Sequence[AnyTask], names: Sequence[str], run: Run,
    say: Callable[[str], None], done: str,
) -> dict[AnyTask, Found]:  # fmt: skip
    """Run what no earlier run has done; return what was found, now or then."""
    found = {task: kept for task in tasks if (kept := load_found(folder, task))}
    todo = [(task, name) for task, name in zip(tasks, names, strict=True) if task not in found]
    processes, dask = run
    count = min(processes or available_cores(), len(todo)) or 1
    where = f"dask cluster {dask}" if dask else f"{count} process{'es' * (count > 1)}"
    say(f"{len(tasks)} jobs, {len(found)} {done} before, the others on {where}")
    started = [task for task, _ in todo]
    results = map_on_cluster(run_job, started, dask) if dask else run_here(started, count)
    for at, result in results if todo else ():
        task, name = todo[at]
        found[task] = result
        keep_found(folder, task, result)
        say(f"  {name}: {result.line}")
    return found


def _bundle_name(folder: Path, path: str) -> str:
    name = Path(path).relative_to(folder.resolve())
    return str(name) if name.parts else Path(path).name
