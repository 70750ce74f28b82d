"""Windows scored here, in processes or on a cluster: the same bits, and nothing left behind."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from distributed import LocalCluster

from bitexport.emit.manifest import Bundle
from bitexport.errors import BitexportError, BundleError, ToolchainError
from bitexport.evaluate.perplexity import Evaluation, Scored, evaluate
from bitexport.evaluate.spread import (
    cores,
    score_here,
    score_in_processes,
    score_on_cluster,
    score_on_worker,
)
from bitexport.evaluate.windows import Text, Window
from bitexport.evaluate.work import Work

CONTEXT = 24
SECONDS = 30


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Return the address of a scheduler with two workers of one thread and one of two."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dask's own, about ports and event loops
        with LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None
        ) as local:
            yield local.scheduler_address


@pytest.fixture(scope="module")
def expected(text: Text, reference_work: Work) -> Evaluation:
    """Return what the reference says in this process."""
    return evaluate([text], CONTEXT, partial(score_here, reference_work))


def test_the_runtime_says_what_the_reference_says(
    text: Text, host_work: Work, expected: Evaluation
) -> None:
    assert evaluate([text], CONTEXT, partial(score_here, host_work)) == expected
    assert expected.whole.windows == 5
    assert 1 < expected.whole.perplexity < 1e6


@pytest.mark.parametrize("jobs", [2, 3])
def test_processes_change_no_bit(
    jobs: int, text: Text, host_work: Work, expected: Evaluation
) -> None:
    assert evaluate([text], CONTEXT, partial(score_in_processes, host_work, jobs=jobs)) == expected
    assert children(os.getpid()) == []


def test_a_cluster_changes_no_bit(
    cluster: str, text: Text, reference_work: Work, host_work: Work, expected: Evaluation
) -> None:
    for work in (reference_work, host_work):
        assert (
            evaluate([text], CONTEXT, partial(score_on_cluster, work, address=cluster)) == expected
        )


def test_windows_may_be_done_in_any_order(
    text: Text, reference_work: Work, expected: Evaluation
) -> None:
    def backwards(windows: Sequence[Window]) -> Scored:
        return reversed(list(score_here(reference_work, windows)))

    assert evaluate([text], CONTEXT, backwards) == expected


def test_a_failure_in_a_process_is_the_sentence_that_it_is_here(
    text: Text, reference_work: Work, tmp_path: Path
) -> None:
    lost = dataclasses.replace(reference_work, bundle=str(tmp_path / "none"))
    for score in (partial(score_here, lost), partial(score_in_processes, lost, jobs=2)):
        with pytest.raises(BundleError, match="none: not a bundle") as caught:
            evaluate([text], CONTEXT, score)
        assert caught.value.hint
    assert children(os.getpid()) == []


def test_a_bundle_that_a_worker_lacks_is_named_with_the_worker(
    cluster: str, text: Text, reference_work: Work, tmp_path: Path
) -> None:
    lost = dataclasses.replace(reference_work, bundle=str(tmp_path / "none"))
    with pytest.raises(BitexportError, match=r"dask worker tcp://.*none: not a bundle") as caught:
        evaluate([text], CONTEXT, partial(score_on_cluster, lost, address=cluster))
    assert "the bundle at the same path" in str(caught.value.hint)


def test_an_address_where_nobody_answers_is_a_sentence(
    text: Text, reference_work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bitexport.evaluate.spread.CONNECT_SECONDS", 1)
    nobody = partial(score_on_cluster, reference_work, address="tcp://127.0.0.1:9")
    with pytest.raises(
        BitexportError, match=r"no dask scheduler answers at `tcp://127\.0\.0\.1:9`"
    ):
        evaluate([text], CONTEXT, nobody)


def test_without_dask_it_is_told_what_to_install(
    text: Text, reference_work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ToolchainError, match="dask is not installed") as caught:
        evaluate([text], CONTEXT, partial(score_on_cluster, reference_work, address="tcp://x:1"))
    assert caught.value.hint == "pip install 'bitexport[cluster]'"
    with pytest.raises(ToolchainError):
        score_on_worker(reference_work, text.windows(CONTEXT)[0])


def test_eval_alone_does_not_import_dask() -> None:
    code = "import sys, bitexport.commands.eval; print('distributed' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert said.stdout == "False\n"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_one_that_started_it(
    how: signal.Signals, host_bundle: Bundle, words: str, tmp_path: Path
) -> None:
    long = tmp_path / "long.txt"
    long.write_text(" ".join([words] * 400), encoding="utf-8")
    command = [sys.executable, "-m", "bitexport", "eval", str(host_bundle.path), str(long)]
    process = subprocess.Popen(
        [*command, "--jobs", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, process_group=0,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    workers = wait_for_workers(process.pid)
    if how is signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does
    else:
        process.send_signal(how)
    _, said = process.communicate(timeout=SECONDS)
    if how is not signal.SIGKILL:
        assert process.returncode == 130
        assert said.endswith("aborted\n")
        assert "Traceback" not in said
    end = time.monotonic() + SECONDS
    while any(map(alive, workers)):
        assert time.monotonic() < end, "a worker is left"
        time.sleep(0.05)


def test_a_worker_that_the_system_ends_is_a_sentence(text: Text, host_work: Work) -> None:
    long = dataclasses.replace(text, tokens=text.tokens * 400, token_bytes=text.token_bytes * 400)
    scored = score_in_processes(host_work, long.windows(CONTEXT), 2)
    next(scored)
    os.kill(workers_of(os.getpid())[0], signal.SIGKILL)
    with pytest.raises(BitexportError, match="was ended by the system"):
        list(scored)


def test_there_is_a_core_to_run_on() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


def children(parent: int) -> list[int]:
    """Return the processes that score windows for this one and still run."""
    return [worker for worker in workers_of(parent) if alive(worker)]


def workers_of(parent: int) -> list[int]:
    """Return the spawned workers of a process."""
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    return [int(child) for child in listed if b"spawn_main" in said_of(int(child), "cmdline")]


def wait_for_workers(parent: int) -> list[int]:
    """Return the workers of a process when there are two."""
    end = time.monotonic() + SECONDS
    while len(found := workers_of(parent)) < 2:
        assert time.monotonic() < end, "no worker was started"
        time.sleep(0.05)
    return found


def alive(process: int) -> bool:
    """Say whether a process runs: it is there, and no zombie."""
    state = said_of(process, "stat")
    return bool(state) and state.rpartition(b") ")[2][:1] != b"Z"


def said_of(process: int, what: str) -> bytes:
    """Return what the system says about a process; nothing when it is gone."""
    try:
        return Path(f"/proc/{process}/{what}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
