"""Files that are read where they lie: pread, never a mapping, whose pages would count as memory."""

from __future__ import annotations

import errno
import math
import os
import stat
import weakref
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bitexport_ref.errors import ReferenceFailure

Element = TypeVar("Element", bound=np.generic)
Element_co = TypeVar("Element_co", bound=np.generic, covariant=True)


class FileBytes:
    """The bytes of a file; a slice of it is read when asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)
        status = os.fstat(self._file)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        self._size = status.st_size

    def __len__(self) -> int:
        """Return the size that the file had when it was opened."""
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        """Read a slice, as `bytes` would give it."""
        start, stop, step = part.indices(self._size)
        assert step == 1
        read = bytearray(max(0, stop - start))
        self.read_into(memoryview(read), start)
        return bytes(read)

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill a buffer of bytes from an offset on; a file that has become shorter is an error."""
        done = 0
        while done < len(buffer):
            count = os.preadv(self._file, [buffer[done:]], offset + done)
            if count == 0:
                message = f"{self._path}: ends at {offset + done}, it was {self._size} bytes long"
                raise ReferenceFailure(message)
            done += count


class Rows(Protocol[Element_co]):
    """What ops ask of a large weight: an array, or one that lies in a file, read by rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""

    @property
    def dtype(self) -> np.dtype[Element_co]:
        """The dtype of an element."""

    def __getitem__(self, rows: slice, /) -> NDArray[Element_co]:
        """Return consecutive rows."""


class StoredArray(Generic[Element]):
    """An array that lies in a file, row-major; consecutive rows are read when asked for."""

    def __init__(
        self, file: FileBytes, dtype: np.dtype[Element], shape: tuple[int, ...], offset: int
    ) -> None:
        self._file = file
        self._offset = offset
        self.dtype = dtype
        self.shape = shape

    def __getitem__(self, rows: slice, /) -> NDArray[Element]:
        """Read consecutive rows; the array cannot be written."""
        start, stop, step = rows.indices(self.shape[0])
        assert step == 1
        count = max(0, stop - start)
        array = np.empty((count, *self.shape[1:]), self.dtype)
        if array.size:
            row_bytes = array.nbytes // count
            self._file.read_into(
                array.view(np.uint8).data.cast("B"), self._offset + start * row_bytes
            )
        array.flags.writeable = False
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all of it."""
        whole: NDArray[Any] = self[:]
        return whole if dtype is None else np.asarray(whole, dtype)

    @property
    def nbytes(self) -> int:
        """How many bytes it takes in the file."""
        return math.prod(self.shape) * self.dtype.itemsize
