"""One .safetensors file, read with pread so that peak memory stays the size of a block.

The format: u64 length of a JSON header, the header, then the tensors' bytes.  Every rule of its
specification (github.com/huggingface/safetensors, README, "Format") is checked before anything is
read: offsets in range, no holes, no overlap, sizes that agree with dtype and shape.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from bitexport.checkpoints.json_object import parse_object
from bitexport.checkpoints.stored_tensor import DTYPES, StoredTensor
from bitexport.errors import CheckpointError

HEADER_LIMIT = 100_000_000
LENGTH_BYTES = 8


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a file by name, or say which rule of the format it breaks."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(LENGTH_BYTES)
            length = int.from_bytes(start, "little")
            if len(start) < LENGTH_BYTES or length > min(size - LENGTH_BYTES, HEADER_LIMIT):
                raise _damaged(path, f"its header claims {length} bytes, the file has {size}")
            text = file.read(length)
    except OSError as error:
        raise _damaged(path, f"it cannot be read ({error.strerror})") from None
    try:
        header = parse_object(text)
    except ValueError as error:
        raise _damaged(path, f"its header is not a JSON object ({error})") from None
    header.pop("__metadata__", None)
    tensors = {name: _tensor(path, name, entry) for name, entry in header.items()}
    data, end = LENGTH_BYTES + length, 0
    for tensor in sorted(tensors.values(), key=lambda t: (t.offset, t.nbytes)):
        if tensor.offset != end:
            raise _damaged(path, f"tensor `{tensor.name}` starts at {tensor.offset}, not {end}")
        end += tensor.nbytes
    if data + end != size:
        raise _damaged(path, f"its tensors end at byte {data + end}, the file at {size}")
    return {n: dataclasses.replace(t, offset=t.offset + data) for n, t in tensors.items()}


def _tensor(path: Path, name: str, entry: Any) -> StoredTensor:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [start, stop]}:
            if dtype not in DTYPES:
                raise _damaged(path, f"tensor `{name}` has the unknown dtype `{dtype}`")
            if not all(type(n) is int and n >= 0 for n in shape):
                raise _damaged(path, f"tensor `{name}` has the shape {shape}")
            if not all(type(n) is int and n >= 0 for n in (start, stop)):
                raise _damaged(path, f"tensor `{name}` has the offsets {[start, stop]}")
            tensor = StoredTensor(path, name, dtype, tuple(shape), start)
            if stop - start != tensor.nbytes:
                raise _damaged(
                    path,
                    f"tensor `{name}` spans {stop - start} bytes, its shape needs {tensor.nbytes}",
                )
            return tensor
    raise _damaged(path, f"the entry of tensor `{name}` lacks dtype, shape or data_offsets")


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: not a sound safetensors file: {what}",
        hint="copy or download the file again",
    )
