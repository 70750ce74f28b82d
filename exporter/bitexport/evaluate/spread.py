"""Where windows are scored: here, in processes of this machine, or on a dask cluster.

Each way yields (index, nats) in the order in which windows are done; the nats are the same bits.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from bitexport import __version__
from bitexport.errors import BitexportError, ToolchainError
from bitexport.evaluate.likelihood import F64
from bitexport.evaluate.perplexity import Scored
from bitexport.evaluate.windows import Window
from bitexport.evaluate.work import Work, close_all, open_predictor, score, window_nats

Item = TypeVar("Item")
Result = TypeVar("Result")

CONNECT_SECONDS = 10
INSTALL = "install bitexport[cluster] in this version on the scheduler and on every worker"
INTERRUPTS = {signal.SIGINT, signal.SIGTERM}
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> int:
    """Return on how many cores this process may run."""
    return len(os.sched_getaffinity(0))


def score_here(work: Work, windows: Sequence[Window]) -> Scored:
    """Score one window after the other in this process."""
    with contextlib.ExitStack() as stack:
        predictor = open_predictor(work, stack)
        for index, window in enumerate(windows):
            yield index, window_nats(predictor, window)


def score_in_processes(work: Work, windows: Sequence[Window], jobs: int) -> Scored:
    """Score windows in `jobs` new processes, which end when this one leaves the loop or dies."""
    context = get_context("spawn")
    lifeline, ours = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(jobs, context, _begin, (lifeline,))
    try:
        with _without_interrupts(), _one_thread_each():
            futures = {
                executor.submit(score, work, window): index for index, window in enumerate(windows)
            }
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise BitexportError(
            "a process that scored windows was ended by the system",
            hint="if memory is short, use fewer --jobs",
        ) from error
    finally:
        ours.close()  # every worker ends at once, whatever it is doing
        executor.shutdown(cancel_futures=True)
        lifeline.close()


def _begin(lifeline: Connection) -> None:
    """Make a new worker end when the other end of the lifeline closes, and not by Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold them back: no process is left half started, and one that starts never sees Ctrl-C."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes that start meanwhile leave the other cores to their siblings."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def score_on_cluster(work: Work, windows: Sequence[Window], address: str) -> Scored:
    """Score windows on the workers of a dask.distributed scheduler.

    The bundle lies at the same path on each of them.
    """
    return map_on_cluster(partial(score_on_worker, work), windows, address)


def map_on_cluster(
    function: Callable[[Item], Result], items: Sequence[Item], address: str
) -> Iterator[tuple[int, Result]]:
    """Call a function of bitexport on the workers of a dask.distributed scheduler.

    Yields index and result as they are done.  bitexport is installed at every worker and at the
    scheduler.
    """
    distributed = _import_distributed()
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise BitexportError(
            f"no dask scheduler answers at `{address}`: {error}",
            hint="give the address that `dask scheduler` prints, such as tcp://10.0.0.5:8786",
        ) from error
    futures: list[Any] = []
    try:
        _refuse_workers(client, address)
        futures = client.map(function, items, pure=False)
        index = {future.key: number for number, future in enumerate(futures)}
        for future in distributed.as_completed(futures, loop=client.loop):
            result: Result = _result(distributed, future, address)
            yield index[future.key], result
    finally:
        with contextlib.suppress(OSError, TimeoutError, distributed.CancelledError):
            client.cancel(futures)
            client.run(close_all, on_error="ignore")
        client.close()


def _refuse_workers(client: Any, address: str) -> None:
    """Refuse a cluster without workers, and workers that lack bitexport."""
    if not client.nthreads():
        raise BitexportError(
            f"the dask scheduler at `{address}` has no workers",
            hint=f"start some: dask worker {address}",
        )
    for worker, said in client.run(close_all, on_error="return").items():
        if isinstance(said, Exception):
            raise BitexportError(
                f"dask worker {worker} cannot run bitexport {__version__}: {said}", hint=INSTALL
            )


def score_on_worker(work: Work, window: Window) -> F64:
    """Score a window on a dask worker, and name the worker in what goes wrong there."""
    distributed = _import_distributed()
    try:
        return score(work, window)
    except BitexportError as error:
        place = distributed.get_worker().address
        raise BitexportError(
            f"dask worker {place}: {error}",
            hint="every worker needs the bundle at the same path, this version of bitexport, and "
            "for --runtime host its library or a compiler",
        ) from error


def _result(distributed: Any, future: Any, address: str) -> Any:
    """Return what a future holds; a cluster that falls apart is the user's to mend."""
    try:
        return future.result()
    except (distributed.KilledWorker, distributed.CancelledError) as error:
        raise BitexportError(
            f"the dask cluster at `{address}` lost its workers: {error}",
            hint="their logs say why; if memory is short, give each worker fewer threads",
        ) from error
    except RuntimeError as error:
        if "deserialization" not in str(error):
            raise
        raise BitexportError(
            f"the dask scheduler at `{address}` cannot run bitexport {__version__}: "
            f"{error.__cause__ or error}", hint=INSTALL,
        ) from error  # fmt: skip


def _import_distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise ToolchainError(
            f"dask is not installed: {error.name} is missing",
            hint="pip install 'bitexport[cluster]'",
        ) from error
    return distributed
