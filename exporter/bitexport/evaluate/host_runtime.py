"""Logits of every position, from the C runtime on this machine."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bitexport.emit.manifest import Bundle
from bitexport.errors import CheckpointError
from bitexport.evaluate.likelihood import F32
from bitexport.runtime.library import NOT_FINITE, Config, Tensor
from bitexport.runtime.model import HostModel
from bitexport.runtime.session import open_session

LOGIT_BYTES = 16 << 20  # of one chunk: as many rows as fit, within the two limits
FEWEST_ROWS, MOST_ROWS = 16, 128


class HostLogits:
    """A bundle opened by the C runtime, with one session for sequences up to `context` tokens."""

    def __init__(self, library: Path, bundle: Bundle, context: int) -> None:
        self._opened = HostModel(library, bundle.data)
        self._library = self._opened.library
        rows = LOGIT_BYTES // (4 * self._opened.vocabulary)
        self._chunk = min(context, max(FEWEST_ROWS, min(rows, MOST_ROWS)))
        config: Config = self._library.bitx_config_default()
        config.context_tokens, config.chunk_rows, config.keep_all_rows = context, self._chunk, 1
        self._session, self._arena = open_session(self._opened, config)

    def logits(self, tokens: Sequence[int]) -> Iterator[F32]:
        """Run a fresh sequence; give the logits of its positions, blocks of (rows, vocabulary)."""
        given = np.array(tokens, np.int32)
        self._library.bitx_session_reset(self._session)
        for start in range(0, given.size, self._chunk):
            chunk = np.ascontiguousarray(given[start : start + self._chunk])
            made = np.empty((chunk.size, self._opened.vocabulary), np.float32)
            taken = Tensor(b"input_ids", chunk.ctypes.data, chunk.size)
            wanted = Tensor(b"logits", made.ctypes.data, chunk.size)
            self._require(
                self._library.bitx_run(
                    self._session, chunk.size, ctypes.byref(taken), 1, ctypes.byref(wanted), 1
                ),
                f" at one of the positions {start} to {start + chunk.size - 1}",
            )
            yield made

    def _require(self, status: int, where: str = "") -> None:
        if status == NOT_FINITE:
            raise CheckpointError(
                f"{self._opened.data}: {self._opened.name(status)}: a number overflows{where}",
                hint="the model cannot be evaluated on this text",
            )
        self._opened.require(status, where)
