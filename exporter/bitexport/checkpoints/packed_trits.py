"""Ternary weights as Hugging Face packs them: uint8 [ceil(n / 4), k], one scale per tensor.

Byte [r, c] holds four rows, q = ceil(n / 4) apart: bits 2i+1:2i are row i * q + r, stored as w + 1;
bits without a row are 0 (transformers, integrations/bitnet.py, `pack_weights`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitexport.checkpoints.checkpoint import Checkpoint
from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.checkpoints.stored_tensor import FLOATS, StoredTensor
from bitexport.errors import CheckpointError

LANES = 4
NO_TRIT = 3


def packed_trits(checkpoint: Checkpoint, name: str, n: int, k: int) -> Matrix:
    """Return the trits of `name` (without `.weight`) as a matrix [n, k]."""
    quarter = -(-n // LANES)
    tensor = checkpoint.tensor(f"{name}.weight", ("U8",), (quarter, k))
    for row in range(n, LANES * quarter):
        lane, byte = divmod(row, quarter)
        if (tensor.read_rows(byte, byte + 1).astype(np.uint8) >> np.uint8(2 * lane) & 3).any():
            raise CheckpointError(
                f"{tensor.file}: `{tensor.name}` holds weights in row {row}, where the "
                f"configuration promises {n} rows",
                hint="the sizes in config.json and the weights belong to different models",
            )

    def read_rows(start: int, stop: int) -> NDArray[np.int8]:
        return np.concatenate(
            [
                _lane_rows(tensor, lane, max(start, first) - first, min(stop, last) - first)
                for lane in range(LANES)
                for first, last in [(lane * quarter, min(n, (lane + 1) * quarter))]
                if max(start, first) < min(stop, last)
            ]
        )

    return Matrix(f"{name}.weight", Kind.TRITS, n, k, read_rows)


def weight_scale(checkpoint: Checkpoint, name: str) -> np.float32:
    """Return the scale of the trits of `name`, a number above zero, as it is stored."""
    tensor = checkpoint.tensor(f"{name}.weight_scale", FLOATS, (1,))
    if tensor.dtype == "BF16":
        bits = tensor.read().astype(np.uint32) << np.uint32(16)
        scale = bits.view(np.float32)[0]
    else:
        scale = tensor.read().astype(np.float32)[0]
    if not np.isfinite(scale) or scale <= 0:
        raise CheckpointError(
            f"{tensor.file}: {tensor.title} is {scale}, a scale is finite and above zero",
            hint="the checkpoint is damaged, or was trained into the ground",
        )
    return np.float32(scale)


def _lane_rows(tensor: StoredTensor, lane: int, start: int, stop: int) -> NDArray[np.int8]:
    packed = tensor.read_rows(start, stop).astype(np.uint8, copy=False)
    codes = packed >> np.uint8(2 * lane) & np.uint8(3)
    if codes.size and codes.max() == NO_TRIT:
        row, column = (int(i) for i in np.argwhere(codes == NO_TRIT)[0])
        raise CheckpointError(
            f"{tensor.file}: `{tensor.name}` holds code 3 at byte [{start + row}, {column}], "
            f"lane {lane}; ternary weights have codes 0, 1 and 2",
            hint="the file is damaged, or is not packed as transformers packs BitNet",
        )
    return codes.astype(np.int8) - np.int8(1)
