"""stored: what lies in a file is read where it lies, and never mapped."""

from __future__ import annotations

import numpy as np
import pytest

from bitexport_ref.errors import ReferenceFailure
from bitexport_ref.stored import FileBytes, StoredArray


def test_slices_of_a_file_are_those_of_its_bytes(tmp_path):
    content = bytes(range(200))
    path = tmp_path / "data"
    path.write_bytes(content)
    file = FileBytes(path)
    assert len(file) == 200
    for part in (slice(0, 0), slice(3, 9), slice(190, 500), slice(150, 20), slice(None)):
        assert file[part] == content[part]


def test_an_empty_file_is_read_too(tmp_path):
    (tmp_path / "data").write_bytes(b"")
    file = FileBytes(tmp_path / "data")
    assert len(file) == 0
    assert file[0:64] == b""


def test_a_file_that_has_become_shorter_is_named(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(bytes(100))
    file = FileBytes(path)
    path.write_bytes(bytes(60))
    with pytest.raises(ReferenceFailure, match="data: ends at 60, it was 100 bytes long"):
        file[50:70]


@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 2, 3)])
@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", "<f2", "<f4", "<i8"])
def test_rows_are_those_of_the_array(shape, dtype, tmp_path):
    whole = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    path = tmp_path / "data"
    path.write_bytes(bytes(11) + whole.tobytes())
    stored = StoredArray(FileBytes(path), np.dtype(dtype), shape, 11)
    assert stored.nbytes == whole.nbytes
    for part in (slice(0, 0), slice(2, 5), slice(6, 9), slice(5, 2), slice(None)):
        found = stored[part]
        assert found.dtype == whole.dtype
        assert not found.flags.writeable
        np.testing.assert_array_equal(found, whole[part])
    np.testing.assert_array_equal(np.asarray(stored), whole)


def test_nothing_is_mapped(tmp_path):
    path = tmp_path / "weights-of-this-test"
    path.write_bytes(bytes(1 << 20))
    stored = StoredArray(FileBytes(path), np.dtype(np.uint8), (1 << 20,), 0)
    assert stored[:].sum() == 0
    with open("/proc/self/maps") as maps:  # noqa: PTH123 - not a file on disk
        assert "weights-of-this-test" not in maps.read()
