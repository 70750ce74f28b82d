"""From stored tensors to weights: what a layer multiplies with, read a block of rows at a time."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitexport.checkpoints import gguf_blocks
from bitexport.checkpoints.checkpoint import GGUF, Checkpoint
from bitexport.checkpoints.matrix import BLOCK_BYTES, FLOAT_KINDS, Kind, Matrix
from bitexport.checkpoints.packed_trits import packed_trits, weight_scale
from bitexport.checkpoints.scales import Shared, coarsest
from bitexport.checkpoints.stored_tensor import BLOCKS, DTYPES, FLOATS, StoredTensor
from bitexport.checkpoints.weights import Weights
from bitexport.errors import CheckpointError

PATTERNS: Mapping[str, np.dtype[Any]] = {
    "F32": np.dtype("<u4"),
    "F16": np.dtype("<u2"),
    "BF16": np.dtype("<u2"),
}
INFINITY: Mapping[str, np.generic] = {
    "F32": np.uint32(0x7F800000),
    "F16": np.uint16(0x7C00),
    "BF16": np.uint16(0x7F80),
}
SMALLEST_MEAN = np.float32(1e-5)  # NUMERICS.md, section 7
SMALLEST_GROUP = 32
"""Columns that share a scale at least, in floats that are ternary already."""

ReadRows = Callable[[int, int], NDArray[np.generic]]


class NotTernaryError(CheckpointError):
    """The numbers of a layer have no structure of trits or signs: they are floats."""


class Scheme(enum.Enum):
    """How the weights of a linear layer are to be read."""

    DIVIDED = "divided"
    """Packed trits; the stored scale divides (BitLinear of transformers)."""
    MULTIPLIED = "multiplied"
    """Packed trits; the stored scale multiplies (AutoBitLinear, offline)."""
    ABSMEAN = "absmean"
    """Float masters that become trits now (AutoBitLinear, online; --ternarize)."""
    UNPACKED = "unpacked"
    """Floats that are {-s, 0, s} already; which of them share s is found out."""
    FLOAT = "float"
    """Floats, kept as they are."""


def linear_weights(checkpoint: Checkpoint, name: str, n: int, k: int, scheme: Scheme) -> Weights:
    """Return the weights [n, k] of a layer, `name` being that of its tensor without `.weight`.

    A GGUF tensor of a block type says itself what it holds; the scheme is for the other ones.
    """
    if (weights := _block_weights(checkpoint, name, n, k)) is not None:
        return weights
    match scheme:
        case Scheme.DIVIDED | Scheme.MULTIPLIED:
            scale = weight_scale(checkpoint, name)
            if scheme is Scheme.DIVIDED:
                scale = np.float32(1) / scale
            values = packed_trits(checkpoint, name, n, k)
            return _scaled(values, Shared(np.full((1, 1), scale, np.float32), 0))
        case Scheme.ABSMEAN:
            return absmean(_any_floats(checkpoint, name, n, k))
        case Scheme.UNPACKED:
            tensor = float_tensor(checkpoint, f"{name}.weight", n, k)
            return _shared_weights(tensor, _factor(checkpoint, name))
        case Scheme.FLOAT:
            return table_weights(checkpoint, name, n, k)


def table_weights(checkpoint: Checkpoint, name: str, n: int, k: int) -> Weights:
    """Return the weights [n, k] of an embedding or a head: floats, or what a GGUF's blocks hold."""
    weights = _block_weights(checkpoint, name, n, k)
    return weights or Weights(values=_any_floats(checkpoint, name, n, k))


def float_vector(checkpoint: Checkpoint, name: str, columns: int) -> Matrix:
    """Return a vector, `name` being that of its tensor, as float32 [columns, 1]."""
    tensor = checkpoint.tensor(name, FLOATS, (columns,))
    stored = Matrix(name, FLOAT_KINDS[tensor.dtype], columns, 1, finite_rows(tensor))
    return Matrix(name, Kind.FLOAT, columns, 1, stored.floats)


def _block_weights(checkpoint: Checkpoint, name: str, n: int, k: int) -> Weights | None:
    """Return the weights of a GGUF type that is kept as small integers; None of other types."""
    stored = checkpoint.tensors.get(f"{name}.weight")
    if stored is None or stored.dtype not in gguf_blocks.KINDS:
        return None
    tensor = checkpoint.tensor(f"{name}.weight", (stored.dtype,), (n, k))
    return _shared_weights(tensor, _factor(checkpoint, name))


def _any_floats(checkpoint: Checkpoint, name: str, n: int, k: int) -> Matrix:
    """Return floats as they are stored, or those that the blocks of a GGUF stand for."""
    stored = checkpoint.tensors.get(f"{name}.weight")
    if stored is not None and stored.dtype in gguf_blocks.WIDENED:
        tensor = checkpoint.tensor(f"{name}.weight", gguf_blocks.WIDENED, (n, k))
        return Matrix(tensor.name, Kind.FLOAT, n, k, partial(gguf_blocks.widened, tensor))
    tensor = float_tensor(checkpoint, f"{name}.weight", n, k)
    return Matrix(tensor.name, FLOAT_KINDS[tensor.dtype], n, k, finite_rows(tensor))


def float_tensor(checkpoint: Checkpoint, name: str, n: int, k: int) -> StoredTensor:
    """Return a tensor [n, k] that must hold floats."""
    stored = checkpoint.tensors.get(name)
    if stored is not None and stored.dtype in BLOCKS:
        raise NotTernaryError(
            f"{stored.file}: tensor {stored.title} is {stored.dtype}: rounded after training, "
            "not ternary",
            hint="for a few layers only: --precision PATTERN=f32; a whole model of this type: "
            "--ternarize absmean, or take its float safetensors",
        )
    if stored is not None and stored.dtype == "U8":
        raise CheckpointError(
            f"{stored.file}: tensor {stored.title} holds packed trits where floats are expected",
            hint="config.json says that this layer is not packed; are the two of one model?",
        )
    return checkpoint.tensor(name, FLOATS, (n, k))


def finite_rows(tensor: StoredTensor) -> ReadRows:
    """Return a reading of rows [rows, columns] that refuses a NaN or an infinity, with its place.

    A bfloat16 stays a uint16 pattern.
    """
    infinity = INFINITY[tensor.dtype]

    def read_rows(start: int, stop: int) -> NDArray[np.generic]:
        rows = tensor.read_rows(start, stop).reshape(stop - start, -1)
        exponents = rows.view(PATTERNS[tensor.dtype]) & infinity
        if exponents.max(initial=0) == infinity:
            row, column = (int(i) for i in np.argwhere(exponents == infinity)[0])
            raise CheckpointError(
                f"{tensor.file}: {tensor.title} holds a NaN or an infinity "
                f"at [{start + row}, {column}]",
                hint="the checkpoint is damaged, or its training diverged",
            )
        return rows

    return read_rows


def absmean(matrix: Matrix) -> Weights:
    """Return a float matrix as trits and one scale, the mean magnitude (NUMERICS.md, section 7)."""
    sums = np.zeros(matrix.columns)
    for _, rows in matrix.blocks():
        for row in np.abs(matrix.widened(rows)):
            sums += row
    total = np.cumsum(sums)[-1]  # one after the other, which `sum` does not promise
    mean = np.float32(total / (matrix.rows * matrix.columns))
    inverse = np.float32(1) / np.maximum(mean, SMALLEST_MEAN)

    def read_rows(start: int, stop: int) -> NDArray[np.int8]:
        trits = np.rint(matrix.floats(start, stop) * inverse)
        return np.asarray(np.clip(trits, -1, 1), np.int8)

    values = Matrix(matrix.name, Kind.TRITS, matrix.rows, matrix.columns, read_rows)
    return _scaled(values, Shared(np.full((1, 1), np.float32(1) / inverse, np.float32), 0))


def _factor(checkpoint: Checkpoint, name: str) -> np.float32:
    """Return what a GGUF multiplies a layer's product with, in a tensor of its own."""
    if checkpoint.container == GGUF and f"{name}.weight_scale" in checkpoint.tensors:
        return weight_scale(checkpoint, name)
    return np.float32(1)


def _scaled(values: Matrix, shared: Shared) -> Weights:
    """Return values with scales that are few enough to be held."""
    scale = shared.scale
    rows, columns = scale.shape
    matrix = Matrix(_scale_name(values.name), Kind.FLOAT, rows, columns, lambda a, b: scale[a:b])
    return Weights(values=values, scale=matrix, group=shared.group)


def _scale_name(name: str) -> str:
    return f"{name.removesuffix('.weight')}.weight_scale"


# ---- scales that some weights share ------------------------------------------------------------


def _shared_weights(tensor: StoredTensor, factor: np.float32) -> Weights:
    """Return trits, signs or 4-bit integers with the coarsest structure of their scales.

    The finest scales of floats are the magnitudes of 32 columns of a row, which must be {-s, 0, s};
    those of block types are the blocks'.  `coarsest` says how many of these share one: all, a row,
    a block of columns of all rows (the shards of TriLM), or a larger group of a row (Bonsai: 128).
    Floats without a single zero are binary.

    A negative scale of a block turns its trits or signs and is stored without its sign; a scale of
    0 makes trits 0.  A factor (`blk.N.attn_q.scale`) is multiplied in, rounded to float32 once.
    """
    n, k = tensor.shape
    kind, shared = _structure(tensor, factor)
    read_rows = _turned_rows(tensor, kind) if tensor.dtype in BLOCKS else _sign_rows(tensor)
    values = Matrix(tensor.name, kind, n, k, read_rows)
    if not shared.group or shared.scale.shape[1] == 1:
        return _scaled(values, shared)
    is_half = factor == 1 and (tensor.dtype in BLOCKS or tensor.dtype == "F16")
    kind = Kind.FLOAT16 if is_half else Kind.FLOAT
    groups, columns = shared.scale.shape
    again = _ScalesAgain(tensor, factor, kind)
    scale = Matrix(_scale_name(tensor.name), kind, groups, columns, again.read_rows)
    return Weights(values=values, scale=scale, group=shared.group)


class _ScalesAgain:
    """Scales of groups, which are many: read again where they are written, then let go."""

    def __init__(self, tensor: StoredTensor, factor: np.float32, kind: Kind) -> None:
        self._tensor, self._factor, self._kind = tensor, factor, kind
        self._held: NDArray[np.float32] | None = None

    def read_rows(self, start: int, stop: int) -> NDArray[np.generic]:
        """Return the scales of groups start … stop - 1; held from the first block to the last."""
        if self._held is None:
            self._held = _structure(self._tensor, self._factor)[1].scale
        scale = self._held[start:stop]
        if stop == len(self._held):
            self._held = None
        return scale.astype(np.float16) if self._kind is Kind.FLOAT16 else scale


def _structure(tensor: StoredTensor, factor: np.float32) -> tuple[Kind, Shared]:
    """Return what the values of a tensor are and which of them share a scale."""
    n, k = tensor.shape
    if tensor.dtype == "I2_S":
        one = np.full((1, 1), gguf_blocks.tensor_scale(tensor), np.float32)
        kind, shared = Kind.TRITS, Shared(one, 0)
    elif tensor.dtype in BLOCKS:
        kind, size = gguf_blocks.KINDS[tensor.dtype], BLOCKS[tensor.dtype][0]
        fine = np.empty((n, k // size), np.float32)
        step = max(1, BLOCK_BYTES // tensor.row_bytes)
        for start in range(0, n, step):
            stop = min(start + step, n)
            fine[start:stop] = gguf_blocks.block_scales(tensor, start, stop)
        if kind is Kind.INT4:
            shared = Shared(fine.T, size)
        else:
            shared = coarsest(np.abs(fine), size, k, binary=kind is Kind.SIGNS)
    else:
        fine, binary = _magnitudes(tensor)
        kind = Kind.SIGNS if binary else Kind.TRITS
        shared = coarsest(fine, SMALLEST_GROUP, k, binary=binary)
    if factor != 1:
        shared = Shared(np.asarray(shared.scale * factor, np.float32), shared.group)
    return kind, shared


def _magnitudes(tensor: StoredTensor) -> tuple[NDArray[np.float32], bool]:
    """Return the magnitude of 32 columns of a row, 0 if all are 0; and whether no weight is 0."""
    n, k = tensor.shape
    groups = -(-k // SMALLEST_GROUP)
    matrix = Matrix(tensor.name, FLOAT_KINDS[tensor.dtype], n, k, finite_rows(tensor))
    pattern = PATTERNS[tensor.dtype]
    fine, binary = np.empty((n, groups), pattern), True
    for start, rows in matrix.blocks():
        # Without their sign bits, patterns are in the order of the magnitudes.
        sizes = rows.view(pattern) & pattern.type(np.iinfo(pattern).max >> 1)
        binary = binary and bool(sizes.all())
        short = groups * SMALLEST_GROUP - k
        sizes = np.pad(sizes, ((0, 0), (0, short))) if short else sizes
        parts = sizes.reshape(len(rows), groups, SMALLEST_GROUP)
        largest = parts.max(axis=2)
        odd = ((parts != largest[:, :, None]) & (parts != 0)).any(axis=2)
        if odd.any():
            row, group = (int(i) for i in np.argwhere(odd)[0])
            count = len(np.unique(parts[row, group][parts[row, group] != 0]))
            first = group * SMALLEST_GROUP
            raise NotTernaryError(
                f"{tensor.file}: tensor {tensor.title} is not ternary: row {start + row} has "
                f"{count} magnitudes in columns {first} to {min(k, first + SMALLEST_GROUP) - 1}",
                hint="this is a float layer; --ternarize absmean makes it ternary and measures "
                "the damage",
            )
        fine[start : start + len(rows)] = largest
    stored = fine if tensor.dtype == "BF16" else fine.view(DTYPES[tensor.dtype])
    return matrix.widened(stored), binary


def _sign_rows(tensor: StoredTensor) -> ReadRows:
    """Return a reading of floats that are {-s, 0, s} as trits."""
    read_floats, pattern = finite_rows(tensor), PATTERNS[tensor.dtype]

    def read_rows(start: int, stop: int) -> NDArray[np.int8]:
        bits = read_floats(start, stop).view(pattern)
        some = (bits << pattern.type(1)) != 0
        negative = bits >> pattern.type(8 * pattern.itemsize - 1) != 0
        trits: NDArray[np.int8] = some.view(np.int8) - np.int8(2) * (some & negative).view(np.int8)
        return trits

    return read_rows


def _turned_rows(tensor: StoredTensor, kind: Kind) -> ReadRows:
    """Return a reading of a block type's integers, with the signs of its scales in them."""
    size = BLOCKS[tensor.dtype][0]

    def read_rows(start: int, stop: int) -> NDArray[np.int8]:
        values = gguf_blocks.integers(tensor, start, stop)
        if kind is Kind.INT4 or tensor.dtype == "I2_S":
            return values
        scales = gguf_blocks.block_scales(tensor, start, stop)
        turns = np.where(scales < 0, -1, 1).astype(np.int8)
        if kind is Kind.TRITS:
            turns[scales == 0] = 0
        if (turns == 1).all():
            return values
        return np.asarray(values * np.repeat(turns, size, axis=1), np.int8)

    return read_rows
