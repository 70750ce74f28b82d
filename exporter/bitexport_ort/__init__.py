"""The runtime's kernels as custom ops of onnxruntime: a packed model.onnx then gives its bits.

    options = onnxruntime.SessionOptions()
    bitexport_ort.register(options, "out/model.onnx")
    session = onnxruntime.InferenceSession("out/model.onnx", options)

Without this library onnxruntime computes the ops from their bodies in standard ops: integer sums
are equal then, floats only near.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from bitexport.emit.manifest import GRAPH, MANIFEST, open_bundle
from bitexport.emit.source import copy_runtime
from bitexport.errors import BundleError
from bitexport.ops import DOMAIN
from bitexport.toolchain.compile import build_library, sources
from bitexport.toolchain.onnxruntime import OPS_LIBRARY, build_ops_library, this_machine
from bitexport_ort.session import session_of

__all__ = ["find_library", "open_session", "register"]


def register(options: Any, model: str | Path | None = None) -> Path:
    """Register the custom ops in an `onnxruntime.SessionOptions`; return the library's path.

    With `model`, a bundle's folder or the model.onnx in it, the library is the one that the bundle
    ships for this machine, if it ships one; and a model that needs other ops than the library has
    is a `BundleError`, where onnxruntime would compute them from their bodies and not say so.
    Otherwise the library is compiled, once for a process, which takes a C compiler and seconds.
    """
    library = find_library(model)
    if model is not None:
        _refuse_other_version(_graph(Path(model)), library)
    options.register_custom_ops_library(str(library))
    return library


def open_session(model: str | Path, options: Any = None, *, cache: int | None = None) -> Any:
    """Return an `onnxruntime.InferenceSession` of a bundle with every op in a kernel of ours.

    Ops are fused as our own runtime fuses them: the same bits, in less time than `register` and a
    session of the file as it is.  With `cache` every cache is a buffer [batch, heads, cache, size],
    which an `IOBinding` may bind as past and as present at once: a step then writes its own rows
    and copies none.  The graph has one more input, `past_length`, int64 [1]: how many positions
    are taken.
    """
    graph = _graph(Path(model))
    given = onnxruntime.SessionOptions() if options is None else options
    register(given, graph)
    return session_of(graph, given, cache)


def find_library(model: str | Path | None = None) -> Path:
    """Return the library of custom ops for this machine: the bundle's own, or one compiled now."""
    if model is not None and (shipped := _shipped(_graph(Path(model)).parent)):
        return shipped
    return _compiled()


def _graph(model: Path) -> Path:
    return model / GRAPH if model.is_dir() else model


def _shipped(folder: Path) -> Path | None:
    """Return the library in a bundle if its manifest lists it, with the hash that it says."""
    if not (folder / MANIFEST).is_file():
        return None
    name = f"lib/{this_machine().name}/{OPS_LIBRARY}"
    promised = open_bundle(folder).manifest["files"].get(name)
    if promised is None:
        return None
    path = folder / name
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != promised:
        raise BundleError(
            f"{path}: is not the file that was built",
            hint="build the bundle again, or copy it again",
        )
    return path.resolve()


@functools.cache
def _compiled() -> Path:
    """Compile this version's runtime into a folder that goes when the process ends."""
    target, folder = this_machine(), Path(_scratch().name)
    files = sources(target)
    copy_runtime([source.path for source in files], folder)
    build_library(target, folder, folder)
    return build_ops_library(target, folder, folder / OPS_LIBRARY)


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="bitexport-")


def _refuse_other_version(graph: Path, library: Path) -> None:
    """Refuse a model whose ops are not those of the library."""
    try:
        model = onnx.load(graph, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise BundleError(f"{graph}: cannot be read: {error}") from error
    asked = {each.domain: each.version for each in model.opset_import}.get(DOMAIN)
    known = ctypes.CDLL(str(library))
    known.bitx_ort_form.restype, known.bitx_ort_form.argtypes = ctypes.c_char_p, [ctypes.c_size_t]
    version = int(known.bitx_ort_domain_version())
    names = {name.decode() for name in iter(map(known.bitx_ort_form, count()).__next__, None)}
    if asked not in (None, version):
        _refuse(graph, f"version {asked} of the ops of {DOMAIN}", library, f"version {version}")
    for node in model.graph.node:
        if node.domain == DOMAIN and node.op_type not in names:
            _refuse(graph, f"the op {node.op_type}", library, f"{len(names)} others")


def _refuse(graph: Path, asked: str, library: Path, has: str) -> None:
    raise BundleError(
        f"{graph}: needs {asked}; the library {library} is of another version and has {has}",
        hint="build the bundle again, or use the version of bitexport that built it",
    )
