"""What a worker does, wherever it is: open the bundle once, score windows one after the other.

Nothing but this travels: the words of a `Work`, windows, and nats.  The bundle is read where the
worker is, and is refused if it is not the one that was asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bitexport import __version__
from bitexport.emit.manifest import MANIFEST, open_bundle
from bitexport.errors import BundleError, CheckpointError
from bitexport.evaluate.host_runtime import HostLogits
from bitexport.evaluate.likelihood import F32, F64, token_nats
from bitexport.evaluate.windows import Window
from bitexport.runtime.opened import host_library
from bitexport_ref.errors import ReferenceFailure
from bitexport_ref.evaluator import ReferenceModel, load

Runtime = Literal["reference", "host"]

UNPACKED_BYTES = 256 << 20  # of a worker with the reference: several share a machine


@dataclasses.dataclass(frozen=True)
class Work:
    """All that a worker must know before it sees a window."""

    bundle: str
    manifest: str
    """SHA-256 of the bundle's manifest, which holds the hash of every file."""
    runtime: Runtime
    context: int
    library: str | None = None
    """For the host runtime: the shared library to load; None: find or make one at the worker."""
    checked: bool = False
    """Whether this machine has already compared the bundle's files with its manifest."""
    version: str = __version__


class Predictor(Protocol):
    """Either runtime."""

    def logits(self, tokens: Sequence[int]) -> Iterator[F32]:
        """Run a fresh sequence; give the logits of its positions, blocks of (rows, vocabulary)."""


class Reference:
    """The reference as a predictor."""

    def __init__(self, graph: Path) -> None:
        self._path = graph
        self._model: ReferenceModel = load(graph, unpacked_bytes=UNPACKED_BYTES)

    def logits(self, tokens: Sequence[int]) -> Iterator[F32]:
        """Run a fresh sequence; give the logits of all its positions as one block."""
        try:
            given = np.array(tokens, np.int32)
            yield self._model.session().run(given, trace=False).logits
        except ReferenceFailure as error:
            raise CheckpointError(
                f"{self._path}: {error}", hint="the model cannot be evaluated on this text"
            ) from error


def manifest_digest(bundle: Path) -> str:
    """Return the SHA-256 of a bundle's manifest."""
    return hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()


def open_predictor(work: Work, stack: contextlib.ExitStack) -> Predictor:
    """Open the bundle of a piece of work; what that leaves behind goes when the stack closes."""
    if work.version != __version__:
        raise BundleError(
            f"bitexport is version {__version__} here, {work.version} where the text is",
            hint="install the same version everywhere",
        )
    bundle = open_bundle(Path(work.bundle), check_files=not work.checked)
    if manifest_digest(bundle.path) != work.manifest:
        raise BundleError(
            f"{bundle.path}: is another bundle than the one to evaluate",
            hint="copy the bundle to this path again",
        )
    if work.runtime == "reference":
        return Reference(bundle.graph)
    if work.library is None:
        return HostLogits(stack.enter_context(host_library(bundle)), bundle, work.context)
    return HostLogits(Path(work.library), bundle, work.context)


def window_nats(predictor: Predictor, window: Window) -> F64:
    """Return -log p of each predicted token, in their order."""
    first, nats, row = window.first, [], 0
    for logits in predictor.logits(window.tokens[:-1]):  # the last token is predicted, not read
        kept = logits[max(0, first - 1 - row) :]
        row += len(logits)
        if len(kept):
            nats.append(token_nats(kept, window.tokens[row - len(kept) + 1 : row + 1]))
    return np.concatenate(nats)


_open: dict[tuple[Work, int], tuple[Predictor, contextlib.ExitStack]] = {}
_opening = threading.Lock()


def score(work: Work, window: Window) -> NDArray[np.float64]:
    """Score a window in a worker; each thread opens the bundle once and keeps it open."""
    key = (work, threading.get_ident())
    if key not in _open:
        with _opening, contextlib.ExitStack() as stack:
            predictor = open_predictor(work, stack)
            _open[key] = (predictor, stack.pop_all())
    return window_nats(_open[key][0], window)


def close_all() -> None:
    """Let go of what workers of this process hold open."""
    while _open:
        _, (_, stack) = _open.popitem()
        stack.close()
