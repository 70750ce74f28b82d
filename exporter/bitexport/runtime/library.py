"""libbitexport.so through its headers: structures, signatures, statuses.

This file, and those that it says of itself are beside it in a wheel (package/kinds/wheel.py), need
Python alone.
"""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

from bitexport.errors import BundleError

OK, MAGIC, VERSION, TRUNCATED, FORMAT, HASH = 0, -2, -3, -4, -5, -6
FULL, NOT_FINITE, SELF_TEST, TEXT, ROLE, MODEL, ROOM = -9, -11, -15, -16, -17, -19, -20
ALL = 0xFFFFFFFF
ALIGNMENT = 64
MOST_STOPS = 8
STREAM_BYTES = 1024

_u32, _s32, _f32 = ctypes.c_uint32, ctypes.c_int32, ctypes.c_float
_size, _pointer = ctypes.c_size_t, ctypes.c_void_p


class Section(ctypes.Structure):
    """bitx_section."""

    _fields_ = (("records", _pointer), ("bytes", ctypes.c_uint64), ("count", _u32))


class Model(ctypes.Structure):
    """bitx_model."""

    _fields_ = (
        ("blob", _pointer),
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
        ("tokenizer", Section),
        ("chat", Section),
        ("generation", Section),
        ("arithmetic", Section),
        ("rule", _u32),
        ("record", _u32),
    )


class Facts(ctypes.Structure):
    """bitx_facts."""

    _fields_ = (
        ("is_language_model", _u32),
        ("vocabulary", _u32),
        ("context", _u32),
        ("hidden", _u32),
        ("layers", _u32),
        ("heads", _u32),
        ("kv_heads", _u32),
        ("head_size", _u32),
        ("bos", _u32),
        ("eos_count", _u32),
        ("eos", _u32 * 4),
        ("name", ctypes.c_char_p),
        ("family", ctypes.c_char_p),
    )


class Map(ctypes.Structure):
    """bitx_map."""

    _fields_ = (("blob", _pointer), ("bytes", _size))


class Config(ctypes.Structure):
    """bitx_config."""

    _fields_ = (
        ("context_tokens", _u32),
        ("chunk_rows", _u32),
        ("isa_mask", _u32),
        ("unfused", _u32),
        ("keep_all_rows", _u32),
        ("parallel_for", _pointer),
        ("parallel_context", _pointer),
        ("trace", _pointer),
        ("trace_context", _pointer),
        ("kept_rows", _u32),
    )


class TraceEvent(ctypes.Structure):
    """bitx_trace_event."""

    _fields_ = (
        ("op", _u32),
        ("output", _u32),
        ("op_output", _u32),
        ("value", ctypes.c_char_p),
        ("dtype", ctypes.c_int),
        ("rows", _u32),
        ("columns", _u32),
        ("stride", _size),
        ("data", _pointer),
        ("row_position", _u32),
    )


class SelfTestResult(ctypes.Structure):
    """bitx_self_test_result."""

    _fields_ = (("position", _u32), ("op_output", _u32))


class Tensor(ctypes.Structure):
    """bitx_tensor."""

    _fields_ = (("name", ctypes.c_char_p), ("data", _pointer), ("rows", _u32))


class Range(ctypes.Structure):
    """bitx_range."""

    _fields_ = (("start", _size), ("end", _size))


class Text(ctypes.Structure):
    """bitx_text."""

    _fields_ = (("bytes", ctypes.c_char_p), ("count", _size), ("plain", _pointer),
                ("plain_count", _size))  # fmt: skip


class StringView(ctypes.Structure):
    """bitx_string_view."""

    _fields_ = (("bytes", ctypes.c_char_p), ("count", _size))


class StreamConfig(ctypes.Structure):
    """bitx_stream_config."""

    _fields_ = (("stops", ctypes.POINTER(StringView)), ("stop_count", _size),
                ("show_control", _u32), ("continues", _u32))  # fmt: skip


class Stream(ctypes.Structure):
    """bitx_stream."""

    _fields_ = (
        ("model", _pointer),
        ("config", StreamConfig),
        ("vocabulary", _u32),
        ("ended", _u32),
        ("drops_space", _u32),
        ("rest_count", _u32),
        ("given", _u32),
        ("held", _u32),
        ("rest", ctypes.c_uint8 * 4),
        ("text", ctypes.c_char * STREAM_BYTES),
    )


class Message(ctypes.Structure):
    """bitx_message."""

    _fields_ = (("role", ctypes.c_int), ("content", ctypes.c_char_p), ("bytes", _size))


class Chat(ctypes.Structure):
    """bitx_chat."""

    _fields_ = (("encode_flags", _u32), ("stop_count", _u32), ("stops", _s32 * MOST_STOPS))


class Bias(ctypes.Structure):
    """bitx_bias."""

    _fields_ = (("token", _s32), ("bias", _f32))


class Sampler(ctypes.Structure):
    """bitx_sampler."""

    _fields_ = (
        ("temperature", _f32),
        ("top_k", _u32),
        ("top_p", _f32),
        ("min_p", _f32),
        ("repetition", _f32),
        ("presence", _f32),
        ("frequency", _f32),
        ("window", _u32),
        ("seed", ctypes.c_uint64),
        ("bias", ctypes.POINTER(Bias)),
        ("bias_count", _size),
        ("mask", _pointer),
        ("mask_context", _pointer),
    )


class Answer(ctypes.Structure):
    """bitx_answer."""

    _fields_ = (
        ("sampler", Sampler),
        ("most_tokens", _u32),
        ("stop_tokens", ctypes.POINTER(_s32)),
        ("stop_token_count", _u32),
        ("ignore_ends", _u32),
        ("when_full", ctypes.c_int),
        ("keep", _u32),
        ("draft", _u32),
        ("stream", StreamConfig),
    )


class Event(ctypes.Structure):
    """bitx_event."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("end", ctypes.c_int),
        ("status", ctypes.c_int),
        ("done", _u32),
        ("total", _u32),
        ("token", _s32),
        ("text", _pointer),
        ("bytes", _size),
    )


TokenMask = ctypes.CFUNCTYPE(None, _pointer, _pointer, _size, _pointer, _u32)
"""bitx_token_mask."""

Trace = ctypes.CFUNCTYPE(None, _pointer, ctypes.POINTER(TraceEvent))
"""bitx_trace."""

_STATUS = ctypes.c_int
_SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "bitx_status_name": (ctypes.c_char_p, [_STATUS]),
    "bitx_model_open": (_STATUS, [_pointer, _pointer, _size]),
    "bitx_model_check_hashes": (_STATUS, [_pointer]),
    "bitx_model_check_text": (_STATUS, [_pointer]),
    "bitx_model_facts": (Facts, [_pointer]),
    "bitx_config_default": (Config, []),
    "bitx_session_size": (_STATUS, [_pointer, _pointer, _pointer]),
    "bitx_session_open": (_STATUS, [_pointer, _pointer, _pointer, _pointer, _size]),
    "bitx_session_reset": (None, [_pointer]),
    "bitx_session_position": (_u32, [_pointer]),
    "bitx_step": (_STATUS, [_pointer, _s32, _pointer]),
    "bitx_self_test": (_STATUS, [_pointer, _pointer, _size, _pointer]),
    "bitx_run": (_STATUS, [_pointer, _u32, _pointer, _size, _pointer, _size]),
    "bitx_encode_room": (_STATUS, [_pointer, _pointer, _pointer, _size]),
    "bitx_encode": (
        _STATUS, [_pointer, _size, _pointer, _pointer, _pointer, _u32, _pointer, _size]
    ),
    "bitx_stream_open": (_STATUS, [_pointer, _pointer, _pointer]),
    "bitx_stream_push": (_STATUS, [_pointer, _s32, _pointer, _pointer, _pointer]),
    "bitx_stream_finish": (_STATUS, [_pointer, _pointer, _pointer]),
    "bitx_chat_of_model": (_STATUS, [_pointer, _pointer]),
    "bitx_chat_text": (
        _STATUS,
        [_pointer, _size, _pointer, _pointer, _size, _pointer, _pointer, _pointer, _size,
         ctypes.c_int, ctypes.c_int],
    ),
    "bitx_sampler_greedy": (Sampler, []),
    "bitx_sampler_of_model": (_STATUS, [_pointer, _pointer]),
    "bitx_sampler_check": (_STATUS, [_pointer]),
    "bitx_answer_default": (_STATUS, [_pointer, _pointer]),
    "bitx_generator_size": (_STATUS, [_pointer, _pointer, _u32]),
    "bitx_generator_open": (_STATUS, [_pointer, _pointer, _pointer, _size]),
    "bitx_generator_reset": (None, [_pointer]),
    "bitx_generator_give": (_STATUS, [_pointer, _pointer, _size]),
    "bitx_generator_shift": (_STATUS, [_pointer, _u32]),
    "bitx_generator_start": (_STATUS, [_pointer, _pointer]),
    "bitx_generator_next": (_STATUS, [_pointer, _pointer]),
    "bitx_generator_cancel": (None, [_pointer]),
    "bitx_generator_tokens": (_pointer, [_pointer, _pointer]),
    "bitx_generator_fork": (_STATUS, [_pointer, _pointer]),
    "bitx_generator_save_size": (_size, [_pointer]),
    "bitx_generator_save": (_STATUS, [_pointer, _pointer, _size]),
    "bitx_generator_restore": (_STATUS, [_pointer, _pointer, _size]),
    "bitx_map_open": (ctypes.c_int, [_pointer, ctypes.c_char_p]),
    "bitx_map_close": (None, [_pointer]),
    "bitx_threads_start": (ctypes.c_int, [_pointer, ctypes.c_uint]),
    "bitx_threads_stop": (None, [_pointer]),
}  # fmt: skip


def load_library(path: Path) -> ctypes.CDLL:
    """Load a library and declare what its headers declare."""
    try:
        library = ctypes.CDLL(str(path.resolve()))
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be loaded: {error}",
            hint="the library is for another machine: use --runtime reference",
        ) from error
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def status_name(library: ctypes.CDLL, status: int) -> str:
    """Return what a status is called."""
    return str(library.bitx_status_name(status).decode())


class Block:
    """Zeroed memory that begins at a page; it takes none before it is written."""

    def __init__(self, size: int) -> None:
        self.size = size
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._memory = mmap.mmap(-1, max(1, size), flags=flags)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
