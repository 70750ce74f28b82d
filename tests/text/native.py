"""A compiled tokenizer as the C library of this machine walks it, through its binding."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitexport.runtime import library as c
from bitexport.runtime.model import HostModel

FACTS_BYTES, VOCABULARY_AT = 96, 4  # FORMAT.md, 3.1


class Native(HostModel):
    """A model that is a tokenizer and nothing else: no file, no weights."""

    def __init__(self, library: Path, section: bytes, vocabulary: int) -> None:
        self.library = c.load_library(library)
        self.data = library
        self.vocabulary = vocabulary
        self._kept = [_aligned(section), _aligned(_facts(vocabulary))]
        self.model = c.Model()
        self.model.tokenizer = _section(self._kept[0], len(section))
        self.model.facts = _section(self._kept[1], FACTS_BYTES)

    def require(self, status: int, where: str = "") -> None:
        """Stop at a status that is not OK."""
        assert status == c.OK, self.name(status) + where

    def seconds(self, texts: Sequence[bytes]) -> float:
        """Return the processor time of this thread that it takes to encode texts."""
        longest = max(map(len, texts))
        room, work_bytes, count = ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_size_t()
        model = ctypes.byref(self.model)
        self.require(
            self.library.bitx_encode_room(
                ctypes.byref(room), ctypes.byref(work_bytes), model, longest
            )
        )
        tokens = np.empty(room.value, np.int32)
        work = np.empty(work_bytes.value // 4 + 1, np.uint32)
        start = time.thread_time()
        for text in texts:
            given = c.Text(text, len(text), None, 0)
            status = self.library.bitx_encode(
                tokens.ctypes.data, tokens.size, ctypes.byref(count), model, ctypes.byref(given),
                0, work.ctypes.data, work_bytes.value,
            )  # fmt: skip
            self.require(status)
        return time.thread_time() - start


def _facts(vocabulary: int) -> bytes:
    record = bytearray(FACTS_BYTES)
    record[VOCABULARY_AT : VOCABULARY_AT + 4] = vocabulary.to_bytes(4, "little")
    return bytes(record)


def _aligned(data: bytes) -> NDArray[np.uint8]:
    room = np.zeros(len(data) + c.ALIGNMENT, np.uint8)
    start = -room.ctypes.data % c.ALIGNMENT
    room[start : start + len(data)] = np.frombuffer(data, np.uint8)
    return room[start : start + len(data)]


def _section(data: NDArray[np.uint8], size: int) -> c.Section:
    return c.Section(data.ctypes.data, size, 1)
