"""Ternary weights as Hugging Face packs them: uint8 [n / 4, k], one scale per tensor.

Byte [r, c] holds four rows, n / 4 apart: bits 2i+1:2i are row i * n / 4 + r, stored as w + 1
(transformers, integrations/bitnet.py, `pack_weights`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitexport.checkpoints.folder import CheckpointFolder
from bitexport.checkpoints.matrix import Kind, Matrix
from bitexport.checkpoints.safetensors_file import StoredTensor
from bitexport.errors import CheckpointError

LANES = 4
NO_TRIT = 3


def packed_trits(checkpoint: CheckpointFolder, name: str, n: int, k: int) -> Matrix:
    """Return the trits of `name` (without `.weight`) as a matrix [n, k]."""
    if n % LANES:
        raise CheckpointError(
            f"{checkpoint.path}: `{name}` has {n} rows, which four-row packing cannot hold",
            hint="the sizes in config.json and the weights belong to different models",
        )
    tensor = checkpoint.tensor(f"{name}.weight", ("U8",), (n // LANES, k))

    def read_rows(start: int, stop: int) -> NDArray[np.int8]:
        return np.concatenate(
            [
                _lane_rows(tensor, lane, max(start, first) - first, min(stop, last) - first)
                for lane in range(LANES)
                for first, last in [(lane * n // LANES, (lane + 1) * n // LANES)]
                if max(start, first) < min(stop, last)
            ]
        )

    return Matrix(f"{name}.weight", Kind.TRITS, n, k, read_rows)


def weight_scale(checkpoint: CheckpointFolder, name: str) -> np.float32:
    """Return the factor that the trits of `name` are multiplied with."""
    tensor = checkpoint.tensor(f"{name}.weight_scale", ("BF16", "F32", "F16"), (1,))
    if tensor.dtype == "BF16":
        bits = tensor.read().astype(np.uint32) << np.uint32(16)
        scale = bits.view(np.float32)[0]
    else:
        scale = tensor.read().astype(np.float32)[0]
    if not np.isfinite(scale) or scale <= 0:
        raise CheckpointError(
            f"{tensor.file}: `{tensor.name}` is {scale}, a scale is finite and above zero",
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
