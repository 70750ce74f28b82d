"""The block types of GGUF as small integers and their scales, each exactly what its type says.

Where the layouts are defined: ggml-quants.c and ggml-common.h of llama.cpp (Q4_0, Q8_0, Q4_K,
Q6_K, TQ1_0, TQ2_0, Q1_0, Q2_0), `quantize_i2_s` of microsoft/BitNet (I2_S), PrismML-Eng/llama.cpp
(PQ2_0, and Q2_0 with blocks of 128).  An f16 scale d multiplies, except in Q4_K and Q6_K as written
there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from bitexport.checkpoints.matrix import Kind
from bitexport.checkpoints.stored_tensor import BLOCKS, StoredTensor
from bitexport.errors import CheckpointError

Blocks = NDArray[np.uint8]
"""[blocks, bytes of a block]"""

KINDS: Mapping[str, Kind] = {
    "I2_S": Kind.TRITS, "TQ1_0": Kind.TRITS, "TQ2_0": Kind.TRITS, "Q2_0": Kind.TRITS,
    "Q2_0_G128": Kind.TRITS, "PQ2_0": Kind.TRITS, "Q1_0": Kind.SIGNS, "Q4_0": Kind.INT4,
}  # fmt: skip
"""The types that are kept as integers with a scale."""

WIDENED = ("Q8_0", "Q4_K", "Q6_K")
"""The types that are read as the float32 numbers that they stand for."""

SCALE_AT: Mapping[str, int] = {
    "TQ1_0": 52, "TQ2_0": 64, "Q2_0": 0, "Q2_0_G128": 0, "PQ2_0": 0, "Q1_0": 0, "Q4_0": 0,
    "Q8_0": 0, "Q4_K": 0, "Q6_K": 208,
}  # fmt: skip
"""Where the f16 scale lies in a block."""

CODE_OF_NO_TRIT = 2  # of decoded integers: code 3 is one more than the trit 1


def integers(tensor: StoredTensor, start: int, stop: int) -> NDArray[np.int8]:
    """Return rows start … stop - 1 of a type in KINDS, shape [rows, k], before their scales."""
    blocks = _blocks(tensor, start, stop)
    values = DECODE[tensor.dtype](blocks).reshape(stop - start, tensor.shape[1])
    if KINDS[tensor.dtype] is Kind.TRITS and values.max(initial=0) == CODE_OF_NO_TRIT:
        row, column = (int(i) for i in np.argwhere(values == CODE_OF_NO_TRIT)[0])
        stands = "twice the scale" if tensor.dtype.startswith(("Q2", "PQ2")) else "nothing"
        raise CheckpointError(
            f"{tensor.file}: {tensor.title} holds code 3 at [{start + row}, {column}], which "
            f"stands for {stands} in {tensor.dtype}; ternary weights have codes 0, 1 and 2",
            hint="the file is damaged, or was not made from a ternary model",
        )
    return values


def block_scales(
    tensor: StoredTensor, start: int, stop: int, at: int | None = None
) -> NDArray[np.float16]:
    """Return the scales of rows start … stop - 1, shape [rows, blocks of a row].

    at: where they lie in a block, for a type that has a second one.
    """
    at = SCALE_AT[tensor.dtype] if at is None else at
    d = _blocks(tensor, start, stop)[:, at : at + 2].copy().view("<f2").reshape(stop - start, -1)
    if not np.isfinite(d).all():
        row, block = (int(i) for i in np.argwhere(~np.isfinite(d))[0])
        raise CheckpointError(
            f"{tensor.file}: {tensor.title} has the scale {d[row, block]} in block {block} of row "
            f"{start + row}; a scale is finite",
            hint="the checkpoint is damaged, or its training diverged",
        )
    return np.asarray(d, np.float16)


def tensor_scale(tensor: StoredTensor) -> np.float32:
    """Return the one scale of an I2_S tensor: a float behind its last block."""
    scale = np.frombuffer(tensor.read_tail(), "<f4")[0]
    if not np.isfinite(scale) or scale <= 0:
        raise CheckpointError(
            f"{tensor.file}: the scale of {tensor.title} is {scale}, a scale is finite and above "
            "zero",
            hint="the checkpoint is damaged, or was trained into the ground",
        )
    return np.float32(scale)


def widened(tensor: StoredTensor, start: int, stop: int) -> NDArray[np.float32]:
    """Return rows of a type in WIDENED as float32.

    The products have 24 bits at most: nothing is rounded but the difference in Q4_K, once.
    """
    d = block_scales(tensor, start, stop).astype(np.float32).reshape(-1, 1)
    blocks = _blocks(tensor, start, stop)
    if tensor.dtype == "Q8_0":
        values = d * blocks[:, 2:].view(np.int8).astype(np.float32)
    elif tensor.dtype == "Q4_K":
        least = block_scales(tensor, start, stop, at=2).astype(np.float32).reshape(-1, 1)
        factors, offsets = (part.astype(np.float32) for part in _q4_k_parts(blocks))
        codes = _q4_k(blocks).astype(np.float32)
        values = np.repeat(d * factors, 32, axis=1) * codes - np.repeat(least * offsets, 32, axis=1)
    else:
        part = blocks[:, 192:208].view(np.int8).astype(np.float32)
        values = np.repeat(d * part, 16, axis=1) * _q6_k(blocks).astype(np.float32)
    return values.reshape(stop - start, tensor.shape[1])


def _blocks(tensor: StoredTensor, start: int, stop: int) -> Blocks:
    return tensor.read_bytes(start, stop).reshape(-1, BLOCKS[tensor.dtype][1])


def _pairs(packed: Blocks, shifts: tuple[int, ...], run: int) -> NDArray[np.int8]:
    """Return codes - 1: byte p of each `run` bytes holds one weight per shift, `run` apart."""
    bits = packed.reshape(len(packed), -1, 1, run) >> np.array(shifts, np.uint8).reshape(-1, 1)
    return (bits & np.uint8(3)).reshape(len(packed), -1).astype(np.int8) - np.int8(1)


def _i2_s(blocks: Blocks) -> NDArray[np.int8]:
    """Undo I2_S: byte p holds weights p, 32 + p, 64 + p, 96 + p, the first in the high bits."""
    return _pairs(blocks, (6, 4, 2, 0), 32)


def _tq2_0(blocks: Blocks) -> NDArray[np.int8]:
    """Undo TQ2_0: byte 32 h + m holds weights 128 h + 32 l + m in bits 2 l."""
    return _pairs(blocks[:, :64], (0, 2, 4, 6), 32)


def _tq1_0(blocks: Blocks) -> NDArray[np.int8]:
    """Undo TQ1_0: a byte is ceil(256 / 243 of a number in base 3); digit n is weight n runs on."""
    parts = []
    for first, last, run, digits in ((0, 32, 32, 5), (32, 48, 16, 5), (48, 52, 4, 4)):
        powers = np.array([3**n for n in range(digits)], np.uint8).reshape(-1, 1)
        shifted = blocks[:, first:last].reshape(len(blocks), -1, 1, run) * powers
        parts.append((shifted.astype(np.uint16) * 3 >> 8).reshape(len(blocks), -1))
    return np.concatenate(parts, axis=1).astype(np.int8) - np.int8(1)


def _q2_0(blocks: Blocks) -> NDArray[np.int8]:
    """Undo Q2_0 and PQ2_0: weight j in bits 2 (j mod 4) of byte j / 4, behind the scale."""
    return _pairs(blocks[:, 2:], (0, 2, 4, 6), 1)


def _q1_0(blocks: Blocks) -> NDArray[np.int8]:
    """Undo Q1_0: weight j is bit j mod 8 of byte j / 8, behind the scale; 1 is +, 0 is -."""
    bits = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little").astype(np.int8)
    return bits * np.int8(2) - np.int8(1)


def _q4_0(blocks: Blocks) -> NDArray[np.int8]:
    """Undo Q4_0: byte j holds weight j in its low bits and 16 + j in the high ones, plus 8."""
    codes = np.concatenate([blocks[:, 2:] & np.uint8(15), blocks[:, 2:] >> 4], axis=1)
    return codes.astype(np.int8) - np.int8(8)


def _q4_k_parts(blocks: Blocks) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return factors and offsets of the eight parts of a block, 6 bits each in bytes 4 to 15.

    Factors 0 … 3 and offsets 0 … 3 are the low bits of bytes 0 … 7; the two high bits of these are
    those of 4 … 7, whose low bits are the halves of bytes 8 … 11.
    """
    low, rest = blocks[:, 4:12], blocks[:, 12:16]
    high = low >> np.uint8(6) << np.uint8(4)
    factors = [low[:, :4] & np.uint8(63), rest & np.uint8(15) | high[:, :4]]
    offsets = [low[:, 4:] & np.uint8(63), rest >> np.uint8(4) | high[:, 4:]]
    return np.concatenate(factors, axis=1), np.concatenate(offsets, axis=1)


def _q4_k(blocks: Blocks) -> NDArray[np.uint8]:
    """Undo Q4_K: byte 32 h + m holds weights 64 h + m and 64 h + 32 + m, the first in low bits."""
    halves = np.array([[0], [4]], np.uint8)
    codes = blocks[:, 16:].reshape(-1, 4, 1, 32) >> halves & np.uint8(15)
    return codes.reshape(len(blocks), -1)


def _q6_k(blocks: Blocks) -> NDArray[np.int8]:
    """Undo Q6_K: 4 low bits (64 bytes of two halves, twice), 2 high bits (32 bytes of four)."""
    halves, quarters = np.array([[0], [4]], np.uint8), np.array([[0], [2], [4], [6]], np.uint8)
    low = blocks[:, :128].reshape(-1, 2, 1, 64) >> halves & np.uint8(15)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> quarters & np.uint8(3)
    codes = low.reshape(len(blocks), -1) | high.reshape(len(blocks), -1) << 4
    return codes.astype(np.int8) - np.int8(32)


DECODE: Mapping[str, Callable[[Blocks], NDArray[np.int8]]] = {
    "I2_S": _i2_s, "TQ1_0": _tq1_0, "TQ2_0": _tq2_0, "Q2_0": _q2_0, "Q2_0_G128": _q2_0,
    "PQ2_0": _q2_0, "Q1_0": _q1_0, "Q4_0": _q4_0,
}  # fmt: skip
