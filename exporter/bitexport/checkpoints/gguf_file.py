"""One GGUF file, version 2 or 3: metadata and where the tensors lie, checked before it is used.

The format (github.com/ggml-org/ggml, docs/gguf.md): magic, u32 version, u64 counts of tensors and
of keys; the keys, each a string, a u32 type and a value; the tensors, each a name, a u32 rank, u64
sizes (the columns first), a u32 type and a u64 offset; then, aligned, the tensors' bytes in order.
"""

from __future__ import annotations

import dataclasses
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bitexport.checkpoints.stored_tensor import BLOCKS, DTYPES, FLOATS, TAILS, StoredTensor
from bitexport.errors import CheckpointError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SWAPPED = tuple(int.from_bytes(v.to_bytes(4, "little"), "big") for v in VERSIONS)
DEFAULT_ALIGNMENT = 32
MOST_KEYS = MOST_TENSORS = 1 << 16
MOST_AXES = 4
LONGEST_NAME = 1 << 16  # bytes of a key or of a tensor's name; those in use have tens
DEEPEST_ARRAY = 4

STRING, ARRAY, BOOL = 8, 9, 7
NUMBERS: Mapping[int, np.dtype[Any]] = {
    0: np.dtype("u1"), 1: np.dtype("i1"), 2: np.dtype("<u2"), 3: np.dtype("<i2"),
    4: np.dtype("<u4"), 5: np.dtype("<i4"), 6: np.dtype("<f4"), BOOL: np.dtype("u1"),
    10: np.dtype("<u8"), 11: np.dtype("<i8"), 12: np.dtype("<f8"),
}  # fmt: skip

TYPES: Mapping[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 8: "Q8_0", 12: "Q4_K", 14: "Q6_K", 24: "I8", 25: "I16",
    26: "I32", 27: "I64", 28: "F64", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 36: "I2_S", 41: "Q1_0",
    42: "Q2_0", 142: "PQ2_0",
}  # fmt: skip
"""The types that are read (ggml.h; 36: microsoft/BitNet; 142: PrismML-Eng/llama.cpp)."""
WEIGHTS = tuple(name for name in TYPES.values() if name in (*FLOATS, *BLOCKS))
"""Those that a weight may have."""

REFUSED: Mapping[int, str] = {
    3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 13: "Q5_K",
    15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL",
    21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M", 37: "I8_S", 38: "TL1",
    39: "MXFP4 (or, in files of microsoft/BitNet, TL2)",
    40: "NVFP4 (or, in early files of Prism, Q1_0 in groups of 32)", 143: "PTQ1_0",
}  # fmt: skip
HINTS: Mapping[int, str] = {
    38: "it is tiled for one kind of processor; export from the I2_S file or from safetensors",
    39: "two formats share this number; export from the I2_S file or from safetensors",
    40: "two formats share this number; export from a file of type Q1_0 with groups of 128",
    143: "its weights lie in a Walsh-Hadamard rotated basis; export from the unpacked safetensors",
}


@dataclasses.dataclass(frozen=True)
class GgufFile:
    """What the head of a file says."""

    path: Path
    version: int
    metadata: Mapping[str, Any]
    """Values by key; an array of numbers is a NumPy array, one of strings a list."""
    tensors: Mapping[str, StoredTensor]
    """By the names of the file; the first axis is that of the rows."""


def has_magic(path: Path) -> bool:
    """Return whether a file begins as GGUF does."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_file(path: Path) -> GgufFile:
    """Read the head of a file, or say which rule of the format it breaks."""
    try:
        with path.open("rb") as file:
            return _Head(path, file).read()
    except OSError as error:
        raise damaged(path, f"it cannot be read ({error.strerror})") from None


def damaged(path: Path, what: str) -> CheckpointError:
    """Return the refusal of a file that breaks a rule."""
    return CheckpointError(
        f"{path}: not a sound GGUF file: {what}", hint="copy or download the file again"
    )


class _Head:
    """The head of a file, read from its start to its end."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.size = os.fstat(file.fileno()).st_size

    def read(self) -> GgufFile:
        if self.take(4, "the magic") != MAGIC:
            raise damaged(self.path, "it does not begin with `GGUF`")
        version = self.integer("<I", "the version")
        if version in SWAPPED:
            raise CheckpointError(
                f"{self.path}: a big-endian GGUF file, this version reads little-endian ones",
                hint="convert the file with gguf_convert_endian.py of llama.cpp",
            )
        if version not in VERSIONS:
            raise CheckpointError(
                f"{self.path}: GGUF version {version}, this version reads 2 and 3",
                hint="convert the model again with a current llama.cpp",
            )
        tensors, keys = self.integer("<Q", "the counts"), self.integer("<Q", "the counts")
        for count, most, what in ((tensors, MOST_TENSORS, "tensors"), (keys, MOST_KEYS, "keys")):
            if count > most:
                raise damaged(self.path, f"it claims {count} {what}, at most {most} are read")
        metadata: dict[str, Any] = {}
        for _ in range(keys):
            key = self.name("a key")
            if key in metadata:
                raise damaged(self.path, f"the key `{key}` is there twice")
            metadata[key] = self.value(self.integer("<I", f"key `{key}`"), f"key `{key}`")
        alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise damaged(self.path, f"`general.alignment` is {alignment!r}, not a power of two")
        return GgufFile(self.path, version, metadata, self.tensors(tensors, alignment))

    def take(self, size: int, what: str) -> bytes:
        if size > self.size - self.file.tell():
            raise damaged(self.path, f"it ends inside {what}")
        return self.file.read(size)

    def integer(self, form: str, what: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form), what))[0])

    def name(self, what: str) -> str:
        length = self.integer("<Q", what)
        if length > LONGEST_NAME:
            raise damaged(self.path, f"{what} has a name of {length} bytes")
        try:
            return self.take(length, what).decode("utf-8")
        except UnicodeDecodeError:
            raise damaged(self.path, f"{what} has a name that is not UTF-8") from None

    def value(self, kind: int, what: str, depth: int = 0) -> Any:
        if kind == STRING:
            # Tokens may be bytes that are no text on their own.
            text = self.take(self.integer("<Q", what), what)
            return text.decode("utf-8", "surrogateescape")
        if kind == ARRAY:
            return self.array(what, depth)
        if kind not in NUMBERS:
            raise damaged(self.path, f"{what} has the unknown type {kind}")
        value = np.frombuffer(self.take(NUMBERS[kind].itemsize, what), NUMBERS[kind])[0].item()
        return bool(value) if kind == BOOL else value

    def array(self, what: str, depth: int) -> Any:
        if depth == DEEPEST_ARRAY:
            raise damaged(self.path, f"{what} is an array nested more than {depth} deep")
        kind, count = self.integer("<I", what), self.integer("<Q", what)
        if kind in NUMBERS:
            data = self.take(count * NUMBERS[kind].itemsize, what)
            return np.frombuffer(data, bool if kind == BOOL else NUMBERS[kind])
        # A string takes eight bytes at least, an array twelve.
        if count > (self.size - self.file.tell()) // 8:
            raise damaged(self.path, f"{what} claims {count} elements, the file is too short")
        return [self.value(kind, what, depth + 1) for _ in range(count)]

    def tensors(self, count: int, alignment: int) -> dict[str, StoredTensor]:
        entries: dict[str, tuple[tuple[int, ...], int, int]] = {}
        for _ in range(count):
            name = self.name("a tensor")
            what = f"the entry of tensor `{name}`"
            axes = self.integer("<I", what)
            if not 1 <= axes <= MOST_AXES:
                raise damaged(self.path, f"tensor `{name}` has {axes} axes")
            sizes = tuple(self.integer("<Q", what) for _ in range(axes))
            if 0 in sizes or math.prod(sizes) >= 1 << 62:
                raise damaged(self.path, f"tensor `{name}` has the sizes {list(sizes)}")
            kind, offset = self.integer("<I", what), self.integer("<Q", what)
            if name in entries:
                raise damaged(self.path, f"tensor `{name}` is there twice")
            entries[name] = sizes[::-1], kind, offset
        data = _up(self.file.tell(), alignment)
        spans = self.spans(entries, data, alignment)
        wide = self.wide_q2_0(entries, spans, alignment)
        tensors = {}
        for name, (shape, kind, offset) in entries.items():
            dtype = f"{TYPES[kind]}_G128" if wide and TYPES[kind] == "Q2_0" else TYPES[kind]
            tensor = StoredTensor(self.path, name, dtype, shape, data + offset)
            if BLOCKS.get(dtype, (1, 0))[0] > 1 and shape[-1] % BLOCKS[dtype][0]:
                raise damaged(
                    self.path,
                    f"tensor `{name}` has {shape[-1]} columns, blocks of {dtype} hold "
                    f"{BLOCKS[dtype][0]}",
                )
            if not _fits(tensor.nbytes, spans[name], alignment):
                raise damaged(
                    self.path,
                    f"tensor `{name}` of type {dtype} needs {tensor.nbytes} bytes, "
                    f"{spans[name]} lie up to the next one",
                )
            tensors[name] = tensor
        return tensors

    def spans(
        self, entries: Mapping[str, tuple[tuple[int, ...], int, int]], data: int, alignment: int
    ) -> dict[str, int]:
        """Return how many bytes lie from each tensor's start to the next one's."""
        for name, (_, kind, offset) in entries.items():
            if kind not in TYPES:
                raise CheckpointError(
                    f"{self.path}: tensor `{name}` is of type {kind}, "
                    f"{REFUSED.get(kind, 'which ggml does not have')}; it is not read",
                    hint=HINTS.get(kind, "this version reads " + ", ".join(WEIGHTS)),
                )
            if offset % alignment:
                raise damaged(
                    self.path, f"tensor `{name}` starts at {offset}, not at {alignment} bytes"
                )
        order = sorted(entries, key=lambda name: entries[name][2])
        starts = [entries[name][2] for name in order] + [self.size - data]
        if order and starts[0] != 0:
            raise damaged(self.path, f"tensor `{order[0]}` starts at {starts[0]}, not at 0")
        spans = {}
        for name, start, end in zip(order, starts, starts[1:], strict=False):
            if end <= start:
                where = "lies outside the file" if end == starts[-1] else "overlaps another"
                raise damaged(self.path, f"tensor `{name}` {where}")
            spans[name] = end - start
        return spans

    def wide_q2_0(
        self,
        entries: Mapping[str, tuple[tuple[int, ...], int, int]],
        spans: Mapping[str, int],
        alignment: int,
    ) -> bool:
        """Return whether type 42 means 128 weights in 34 bytes here, told by the tensors' sizes.

        llama.cpp has 64 in 18 bytes, files of Prism before it had that type have 128 in 34.
        """
        possible = []
        found = {name: shape for name, (shape, kind, _) in entries.items() if TYPES[kind] == "Q2_0"}
        for dtype in ("Q2_0", "Q2_0_G128"):
            weights, size = BLOCKS[dtype]
            if all(
                shape[-1] % weights == 0
                and _fits(math.prod(shape) // weights * size, spans[name], alignment)
                for name, shape in found.items()
            ):
                possible.append(dtype)
        if not possible:
            raise damaged(
                self.path,
                f"its tensors of type Q2_0, `{min(found)}` among them, have the size neither of "
                "blocks of 64 weights nor of blocks of 128",
            )
        if found and len(possible) > 1:
            raise CheckpointError(
                f"{self.path}: `{min(found)}` of type Q2_0 is too small to tell blocks of 64 "
                "weights from blocks of 128",
                hint="export from the unpacked safetensors",
            )
        return possible == ["Q2_0_G128"]


def _fits(nbytes: int, span: int, alignment: int) -> bool:
    """Return whether a tensor fills the bytes up to the next one, but for padding."""
    return nbytes <= span <= _up(nbytes, alignment)


def _up(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


assert all(name in DTYPES or name in BLOCKS for name in TYPES.values())
assert TAILS.keys() <= BLOCKS.keys()
