"""`bitexport verify --all`: the jobs of a folder, run and reported."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from bitexport.errors import BitexportError, MismatchError
from bitexport.evaluate.spread import cores as available_cores
from bitexport.evaluate.spread import map_on_cluster
from bitexport.testing.matrix import Job, keep_found, load_found, run_here, run_job


def words_of(options: Mapping[str, str | int | Sequence[int] | None], *, quick: bool) -> list[str]:
    """Return options that were given as the words of a command line."""
    words = ["--quick"] if quick else []
    for name, value in options.items():
        if value is not None:
            text = value if isinstance(value, str | int) else ",".join(map(str, value))
            words += [f"{name}={text}"]
    return words


def verify_all(
    folder: Path, every: Sequence[Job], jobs: int | None, dask: str | None,
    say: Callable[[str], None], *, as_json: bool,
) -> None:  # fmt: skip
    """Run the jobs that no earlier run found equal; report them all, in their order."""
    found = {job: kept for job in every if (kept := load_found(folder, job))}
    todo = [job for job in every if job not in found]
    count = min(jobs or available_cores(), len(todo)) or 1
    where = f"dask cluster {dask}" if dask else f"{count} process{'es' * (count > 1)}"
    say(f"{len(every)} jobs, {len(found)} found equal before, the others on {where}")
    run = map_on_cluster(run_job, todo, dask) if dask else run_here(todo, count)
    for at, result in run if todo else ():
        found[todo[at]] = result
        keep_found(folder, todo[at], result)
        say(f"  {_job_name(folder, todo[at])}: {result.line}")
    if as_json:
        report = [
            {
                "bundle": _bundle_name(folder, job),
                "core": job.core,
                **dataclasses.asdict(found[job]),
            }
            for job in every
        ]
        click.echo(json.dumps(report, indent=2))
    else:
        width = max(len(_job_name(folder, job)) for job in every)
        for job in every:
            click.echo(f"{_job_name(folder, job):{width}} {found[job].line}")
    failed = [job for job in every if found[job].code]
    if failed:
        wrong = [job for job in failed if found[job].code == MismatchError.exit_code]
        first = (wrong or failed)[0]
        kind = MismatchError if wrong else BitexportError
        raise kind(
            f"{len(failed)} of {len(every)} jobs failed; {_job_name(folder, first)}: "
            f"{found[first].said}"
        )


def _job_name(folder: Path, job: Job) -> str:
    return f"{_bundle_name(folder, job)} {job.core}"


def _bundle_name(folder: Path, job: Job) -> str:
    name = Path(job.bundle).relative_to(folder.resolve())
    return str(name) if name.parts else Path(job.bundle).name
