"""A window that moves over a picture (NUMERICS.md, Windows)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import BadOperand


@dataclasses.dataclass(frozen=True, kw_only=True)
class Window:
    """The attributes that ops of pictures have: down, then right; pads begin at the top left."""

    picture: Sequence[int]
    kernel_shape: Sequence[int]
    strides: Sequence[int]
    pads: Sequence[int]
    dilations: Sequence[int]

    @property
    def steps(self) -> tuple[int, int]:
        """How often the window stands, down and to the right."""
        down, right = (
            (self.picture[at] + self.pads[at] + self.pads[at + 2] - self._reach(at))
            // self.strides[at]
            + 1
            for at in (0, 1)
        )
        return down, right

    def under(self, x: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
        """Yield for every place (i, j) of the window, row by row, what lies under it.

        x is (1, height * width, channels).  Yielded are (steps, channels), 0 where it is padding,
        and (steps, 1), false there; the steps of all rows one after the other.
        """
        height, width = self.picture
        if x.ndim != 3 or x.shape[:2] != (1, height * width):  # noqa: PLR2004
            message = f"a picture {x.shape}, the window is for {height} x {width}"
            raise BadOperand(message)
        rows, columns = self.steps
        if rows < 1 or columns < 1:
            message = f"a window of {self.kernel_shape} does not fit a picture of {self.picture}"
            raise BadOperand(message)
        down, right = np.divmod(np.arange(rows * columns), columns)
        for i in range(self.kernel_shape[0]):
            for j in range(self.kernel_shape[1]):
                y = down * self.strides[0] - self.pads[0] + i * self.dilations[0]
                z = right * self.strides[1] - self.pads[1] + j * self.dilations[1]
                inside = (y >= 0) & (z >= 0) & (y < height) & (z < width)
                at = np.where(inside, y * width + z, 0)
                yield np.where(inside[:, None], x[0][at], x.dtype.type(0)), inside[:, None]

    def _reach(self, at: int) -> int:
        return self.dilations[at] * (self.kernel_shape[at] - 1) + 1
