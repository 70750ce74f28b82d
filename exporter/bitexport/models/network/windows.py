"""Windows over pictures: from the attributes of ONNX to those of our ops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bitexport.errors import CheckpointError
from bitexport.ops._windows import ATTRIBUTES, LARGEST_PICTURE, LARGEST_WINDOW, steps

SAME = ("SAME_UPPER", "SAME_LOWER")


def attributes_of_window(
    where: str, said: Mapping[str, Any], shape: Sequence[int], kernel: Sequence[int] | None
) -> dict[str, tuple[int, ...]]:
    """Return picture, kernel_shape, strides, pads and dilations of a node over [1, c, h, w].

    `kernel` is that of a weight; what a node says of its kernel must agree.
    """
    picture = tuple(shape[2:])
    kernel = tuple(said.get("kernel_shape") or kernel or ())
    strides = tuple(said.get("strides") or (1, 1))
    dilations = tuple(said.get("dilations") or (1, 1))
    if any(len(pair) != 2 for pair in (picture, kernel, strides, dilations)):  # noqa: PLR2004
        raise CheckpointError(
            f"{where}: a window of {list(kernel)}", hint="windows have a height and a width"
        )
    mode = said.get("auto_pad", "NOTSET")
    if mode in SAME:
        pads = _same(picture, kernel, strides, dilations, low_first=mode == "SAME_UPPER")
    else:
        pads = tuple(said.get("pads") or (0, 0, 0, 0))
    values = (picture, kernel, strides, pads, dilations)
    window = dict(zip(ATTRIBUTES, values, strict=True))
    small = (*kernel, *strides, *pads, *dilations)
    if min(*kernel, *strides, *dilations) < 1 or min(pads) < 0 or max(small) > LARGEST_WINDOW:
        raise CheckpointError(
            f"{where}: a window of {list(kernel)}, strides {list(strides)}, pads {list(pads)}, "
            f"dilations {list(dilations)}",
            hint=f"all are numbers from 1 to {LARGEST_WINDOW}, pads from 0",
        )
    rows, columns = steps(window)
    if rows < 1 or columns < 1 or max(picture) > LARGEST_PICTURE:
        raise CheckpointError(
            f"{where}: a window of {list(kernel)} does not fit a picture of {list(picture)}",
            hint="the picture is too small, or larger than 65535",
        )
    if said.get("ceil_mode") and _ceiled(window) != (rows, columns):
        raise CheckpointError(
            f"{where}: with ceil_mode a window hangs over the edge",
            hint="export with ceil_mode=0, or pad the picture",
        )
    return window


def size_behind(window: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width of the picture that a window makes."""
    return steps(window)


def _same(
    picture: Sequence[int], kernel: Sequence[int], strides: Sequence[int],
    dilations: Sequence[int], *, low_first: bool,
) -> tuple[int, ...]:  # fmt: skip
    """Return the pads by which size ÷ stride, rounded up, comes out."""
    first, last = [], []
    for size, extent, stride, dilation in zip(picture, kernel, strides, dilations, strict=True):
        count = -(-size // stride)
        all_of_it = max(0, (count - 1) * stride + dilation * (extent - 1) + 1 - size)
        small = all_of_it // 2
        first.append(small if low_first else all_of_it - small)
        last.append(all_of_it - first[-1])
    return (*first, *last)


def _ceiled(window: Mapping[str, Any]) -> tuple[int, int]:
    size, kernel, strides, pads, dilations = (window[name] for name in ATTRIBUTES)
    down, right = (
        -(-(size[at] + pads[at] + pads[at + 2] - dilations[at] * (kernel[at] - 1) - 1)
          // strides[at]) + 1
        for at in (0, 1)
    )  # fmt: skip
    return down, right
