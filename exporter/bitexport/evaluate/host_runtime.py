"""The runtime on this machine, called as an app calls it: libbitexport.so through bitexport.h."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitexport.emit.manifest import Bundle
from bitexport.errors import BundleError, CheckpointError
from bitexport.evaluate.likelihood import F32
from bitexport.package.native import native_bundle
from bitexport.targets import find_target
from bitexport.toolchain.compile import find_library

ALIGNMENT = 64
LOGIT_BYTES = 16 << 20  # of one chunk: as many rows as fit, within the two limits
FEWEST_ROWS, MOST_ROWS = 16, 128

OK, NOT_FINITE = 0, -11


class Section(ctypes.Structure):
    """bitx_section."""

    _fields_ = (
        ("records", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
    )


class Model(ctypes.Structure):
    """bitx_model."""

    _fields_ = (
        ("blob", ctypes.c_void_p),
        ("blob_bytes", ctypes.c_uint64),
        ("facts", Section),
        ("strings", Section),
        ("tensors", Section),
        ("values", Section),
        ("ops", Section),
        ("operands", Section),
        ("data", Section),
        ("self_test", Section),
        ("provenance", Section),
        ("rule", ctypes.c_uint32),
        ("record", ctypes.c_uint32),
    )


class Config(ctypes.Structure):
    """bitx_config."""

    _fields_ = (
        ("context_tokens", ctypes.c_uint32),
        ("chunk_rows", ctypes.c_uint32),
        ("isa_mask", ctypes.c_uint32),
        ("unfused", ctypes.c_uint32),
        ("keep_all_rows", ctypes.c_uint32),
        ("parallel_for", ctypes.c_void_p),
        ("parallel_context", ctypes.c_void_p),
        ("trace", ctypes.c_void_p),
        ("trace_context", ctypes.c_void_p),
    )


class Tensor(ctypes.Structure):
    """bitx_tensor."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("rows", ctypes.c_uint32),
    )


@contextlib.contextmanager
def host_library(bundle: Bundle) -> Iterator[Path]:
    """Give the shared library for this machine: the bundle's own, or this version's, built here."""
    with native_bundle(bundle) as native:
        library = find_library(find_target("host"), native.path)
        assert library.shared is not None
        yield library.shared


class HostModel:
    """A bundle opened by the C runtime, with one session for sequences up to `context` tokens."""

    def __init__(self, library: Path, bundle: Bundle, context: int) -> None:
        self._library = _load(library)
        self._data = bundle.data
        self._vocabulary = int(bundle.manifest["model"]["vocabulary"])
        self._blob = _map(bundle.data)
        self._model = Model()
        blob = self._blob.ctypes.data
        status = self._library.bitx_model_open(ctypes.byref(self._model), blob, self._blob.size)
        if status != OK:
            raise BundleError(
                f"{bundle.data}: {self._name(status)}: rule {self._model.rule} of FORMAT.md, "
                f"record {self._model.record}",
                hint="build the bundle again with this version of bitexport",
            )
        rows = LOGIT_BYTES // (4 * self._vocabulary)
        self._chunk = min(context, max(FEWEST_ROWS, min(rows, MOST_ROWS)))
        config: Config = self._library.bitx_config_default()
        config.context_tokens, config.chunk_rows, config.keep_all_rows = context, self._chunk, 1
        size = ctypes.c_size_t()
        model = ctypes.byref(self._model)
        self._require(
            self._library.bitx_session_size(ctypes.byref(size), model, ctypes.byref(config))
        )
        arena = np.zeros(size.value + ALIGNMENT, np.uint8)
        self._arena = arena[-arena.ctypes.data % ALIGNMENT :]
        self._session = ctypes.c_void_p()
        self._require(
            self._library.bitx_session_open(
                ctypes.byref(self._session), model, ctypes.byref(config),
                self._arena.ctypes.data, self._arena.size,
            )
        )  # fmt: skip

    def logits(self, tokens: Sequence[int]) -> Iterator[F32]:
        """Run a fresh sequence; give the logits of its positions, blocks of (rows, vocabulary)."""
        given = np.array(tokens, np.int32)
        self._library.bitx_session_reset(self._session)
        for start in range(0, given.size, self._chunk):
            chunk = np.ascontiguousarray(given[start : start + self._chunk])
            made = np.empty((chunk.size, self._vocabulary), np.float32)
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
                f"{self._data}: {self._name(status)}: a number overflows{where}",
                hint="the model cannot be evaluated on this text",
            )
        if status != OK:
            raise BundleError(
                f"{self._data}: {self._name(status)}{where}",
                hint="`bitexport verify` says whether bundle and runtime are sound",
            )

    def _name(self, status: int) -> str:
        return str(self._library.bitx_status_name(status).decode())


def _load(path: Path) -> ctypes.CDLL:
    """Load a library and declare what bitexport.h declares."""
    try:
        library = ctypes.CDLL(str(path.resolve()))
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be loaded: {error}",
            hint="the library is for another machine: use --runtime reference",
        ) from error
    pointer, status = ctypes.c_void_p, ctypes.c_int
    signatures = {
        "bitx_status_name": (ctypes.c_char_p, [status]),
        "bitx_model_open": (status, [pointer, pointer, ctypes.c_size_t]),
        "bitx_config_default": (Config, []),
        "bitx_session_size": (status, [pointer, pointer, pointer]),
        "bitx_session_open": (status, [pointer, pointer, pointer, pointer, ctypes.c_size_t]),
        "bitx_session_reset": (None, [pointer]),
        "bitx_run": (
            status,
            [pointer, ctypes.c_uint32, pointer, ctypes.c_size_t, pointer, ctypes.c_size_t],
        ),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _map(path: Path) -> NDArray[np.uint8]:
    """Map a file, read-only; its first byte is aligned to a page."""
    try:
        return np.memmap(path, np.uint8, "r")
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{path}: cannot be mapped: {error}", hint="build the bundle again, or copy it again"
        ) from error
