"""Every bundle below a folder on every core of its target: jobs, here or on a dask cluster.

A job is a process of its own, `bitexport verify BUNDLE --core CORE --json`.  What it found is kept
beside the bundles, so that a matrix that was interrupted, or that one bundle was added to, goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol

from bitexport import __version__
from bitexport.emit.manifest import MANIFEST, open_bundle
from bitexport.errors import BundleError, OutputError, TargetError
from bitexport.evaluate.work import manifest_digest
from bitexport.targets import find_target

QUICK = "--quick"
KEPT = "verified"
"""The folder, beside the bundles, of what was found."""


class Task(Protocol):
    """A process that runs a command of bitexport: a Job, or the Build of a bundle."""

    @property
    def key(self) -> str:
        """A name for what it finds."""

    @property
    def version(self) -> str:
        """Of bitexport, that it is meant for."""

    @property
    def command(self) -> list[str]:
        """The words behind `bitexport`."""

    @property
    def folder(self) -> str | None:
        """Where the words are read."""

    def refusal(self) -> str | None:
        """Say why it cannot be run on this machine as it was meant."""

    def read(self, said: str) -> dict[str, Any]:
        """Return the report that is kept of what it printed."""

    def holds(self, report: Mapping[str, Any]) -> bool:
        """Return whether a report of an earlier run makes another one needless."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One bundle on one core, in the words of `bitexport verify`."""

    bundle: str
    manifest: str
    """SHA-256 of the bundle's manifest, which holds the hash of every file."""
    core: str
    words: tuple[str, ...]
    version: str = __version__

    @property
    def key(self) -> str:
        """A name for what a run of this job finds: equal for equal bundles, wherever they lie."""
        facts = [self.manifest, self.core, *self.words, self.version]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    @property
    def command(self) -> list[str]:
        """The words behind `bitexport`."""
        return ["verify", self.bundle, "--core", self.core, "--json", *self.words]

    @property
    def folder(self) -> None:
        """Where the words are read: wherever this process stands."""

    def refusal(self) -> str | None:
        """Say why it cannot be run on this machine as it was meant."""
        try:
            same = manifest_digest(Path(self.bundle)) == self.manifest
        except OSError as error:
            return f"{self.bundle}: {error.strerror} on this worker"
        return None if same else f"{self.bundle}: is another bundle on this worker"

    def read(self, said: str) -> dict[str, Any]:
        """Return the report that it printed, as far as it is one."""
        try:
            return dict(json.loads(said)) if said else {}
        except ValueError:
            return {}

    def holds(self, report: Mapping[str, Any]) -> bool:
        """Return whether a report says that this core was equal, with all that it has here.

        The files must still be those of the manifest.
        """
        match report:
            case {"cores": [{"core": self.core, "passed": True, "expected_isas": [*isas]}]}:
                try:
                    bundle = open_bundle(Path(self.bundle), check_files=True)
                except BundleError:
                    return False  # the run says why
                return tuple(isas) == find_target(bundle.target_name).expected_isas(self.core)
        return False


@dataclasses.dataclass(frozen=True)
class Found:
    """What a job left: its exit code, its report, and what it said of a failure."""

    code: int
    report: dict[str, Any]
    said: str = ""

    @property
    def line(self) -> str:
        """Say it in one line."""
        if self.code != 0:
            return f"FAILED  {self.said.partition(chr(10))[0]}"
        if "cores" not in self.report:
            return "built"
        (core,) = self.report["cores"]
        return (
            f"equal  {self._compared}, {core['runs']} runs, arena {core['arena_bytes']} bytes, "
            f"seen: {' '.join(core['seen'])}"
        )

    @property
    def _compared(self) -> str:
        outputs = self.report["op_outputs"]
        if "samples" in self.report:  # of a network
            return (
                f"{outputs * self.report['samples']} op outputs, {self.report['samples']} samples"
            )
        tokens = len(self.report["generated"])
        return f"{outputs * self.report['positions']} op outputs, {tokens} tokens"


def find_jobs(folder: Path, cores: Sequence[str], words: Sequence[str]) -> list[Job]:
    """Return the jobs of the bundles below a folder, in the order of their names."""
    jobs, known = [], []
    bundles = sorted(path.parent for path in folder.rglob(MANIFEST))
    if not bundles:
        raise BundleError(
            f"{folder}: there is no bundle below it",
            hint="build some: bitexport build CHECKPOINT --target arm64 -o FOLDER/NAME",
        )
    for path in bundles:
        own = find_target(open_bundle(path).target_name).cores
        known += list(own)
        jobs += jobs_of(path, [core for core in own if core in cores or not cores], words)
    for core in cores:
        if core not in known:
            raise TargetError(
                f"{folder}: no bundle below it has a core `{core}`",
                hint=f"theirs are {', '.join(dict.fromkeys(known))}",
            )
    return jobs


def jobs_of(path: Path, cores: Sequence[str], words: Sequence[str]) -> list[Job]:
    """Return the jobs of one bundle; a network has no use for words about text."""
    if open_bundle(path).is_network:
        words = [word for word in words if word == QUICK]
    digest, where = manifest_digest(path), str(path.resolve())
    return [Job(where, digest, core, tuple(words)) for core in cores]


def run_here(jobs: Sequence[Task], count: int) -> Iterator[tuple[int, Found]]:
    """Run `count` jobs at a time on this machine; when the caller leaves, they end."""
    running: set[subprocess.Popen[str]] = set()
    lock, leaving = threading.Lock(), threading.Event()

    def run(job: Task) -> Found:
        with lock:
            if leaving.is_set():
                return Found(1, {}, "it was not begun")
            process = _started(job)
            running.add(process)
        with process:
            found = _ended(job, process)
        with lock:
            running.remove(process)
        return found

    executor = ThreadPoolExecutor(count)
    try:
        futures = {executor.submit(run, job): at for at, job in enumerate(jobs)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        with lock:
            leaving.set()
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
        executor.shutdown()


def run_job(job: Task) -> Found:
    """Run a job on a worker, which has checkpoints and bundles at the same paths."""
    if job.version != __version__:
        said = f"bitexport is version {__version__} here, {job.version} where the matrix is"
        return Found(1, {}, said)
    if refusal := job.refusal():
        return Found(1, {}, refusal)
    with _started(job) as process:
        return _ended(job, process)


def load_found(folder: Path, job: Task) -> Found | None:
    """Return what an earlier run found equal; what failed, or was cut short, is run again."""
    try:
        facts = json.loads((folder / KEPT / f"{job.key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    match facts:
        case {"code": 0, "report": dict() as report} if job.holds(report):
            return Found(0, report)
    return None


def keep_found(folder: Path, job: Task, found: Found) -> None:
    """Write down what a job found, whole or not at all."""
    path = folder / KEPT / f"{job.key}.json"
    facts = {"words": job.command, **dataclasses.asdict(found)}
    part = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(exist_ok=True, parents=True)
        part.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path}: {error.strerror}", hint="the folder of the bundles must be writable"
        ) from error


def _started(job: Task) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bitexport", *job.command], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0, cwd=job.folder,
    )  # fmt: skip


def _ended(job: Task, process: subprocess.Popen[str]) -> Found:
    out, err = process.communicate()
    report = job.read(out) if out else {}
    said = err.rpartition("error: ")[2].strip() or f"it ended with status {process.returncode}"
    code = process.returncode if report or process.returncode else 1
    return Found(code, report, said if code else "")
