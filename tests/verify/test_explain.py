"""The first differing number is shown by index, bits and distance; bits decide, not values."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitexport.errors import BundleError
from bitexport.verify.cores import Way
from bitexport.verify.explain import Explanation, compare_rows, replay

NAN, INFINITY = 0x7FC00000, 0x7F800000


def f32(*bits: int) -> NDArray[np.float32]:
    return np.array(bits, np.uint32).view(np.float32)


def compare(want: NDArray[Any], have: NDArray[Any], *, traced: bool = True) -> Explanation:
    return compare_rows(
        want, have, core="cortex-a53", way=Way(chunk=4, traced=traced), position=3, op_output=2,
        name="y", op_type="RmsNorm", bundle="out/my model", replay="case.npz",
    )  # fmt: skip


def test_the_first_of_the_differing_elements_is_shown() -> None:
    want = np.array([1, 2, 3, 4], np.float32)
    found = compare(want, np.array([1, 2, 5, 6], np.float32))
    assert (found.index, found.differing, found.columns) == (2, 2, 4)
    assert (found.expected, found.observed) == ("3.0", "5.0")
    assert (found.expected_hex, found.observed_hex) == ("0x40400000", "0x40a00000")


@pytest.mark.parametrize(
    ("a", "b", "ulp"),
    [
        (0x3F800000, 0x3F800001, 1),  # 1 and the next number
        (0x00000000, 0x80000000, 0),  # +0 and -0: other bits, no distance
        (0x00000001, 0x80000001, 2),  # across zero: the smallest subnormals
        (0x80000000, 0x00000001, 1),
        (0xBF800000, 0xBF800002, 2),  # both negative
        (0x3F800000, 0xBF800000, 2 * 0x3F800000),  # 1 and -1
        (0x7F7FFFFF, INFINITY, 1),  # the largest number and infinity
        (NAN, NAN + 1, 1),  # NaNs with other bits
        (NAN, NAN | 0x80000000, 2 * NAN),
    ],
)
def test_distance_is_counted_in_representable_numbers(a: int, b: int, ulp: int) -> None:
    for want, have in ((a, b), (b, a)):
        found = compare(f32(want), f32(have))
        assert found.ulp == ulp
        assert (found.expected_hex, found.observed_hex) == (f"0x{want:08x}", f"0x{have:08x}")


def test_equal_nans_and_equal_zeros_are_passed_over() -> None:
    found = compare(f32(NAN, 0x80000000, 1), f32(NAN, 0x80000000, 2))
    assert (found.index, found.differing) == (2, 1)


def test_a_zero_with_another_sign_is_a_difference() -> None:
    assert compare(f32(0, 1), f32(0x80000000, 1)).index == 0


@pytest.mark.parametrize(
    ("dtype", "a", "b", "distance", "a_hex", "b_hex"),
    [
        (np.int8, -128, 127, 255, "0x80", "0x7f"),
        (np.int8, -1, 0, 1, "0xff", "0x00"),
        (np.int32, -(2**31), 2**31 - 1, 2**32 - 1, "0x80000000", "0x7fffffff"),
    ],
)
def test_integers_are_as_far_apart_as_their_difference(
    dtype: type, a: int, b: int, distance: int, a_hex: str, b_hex: str
) -> None:
    found = compare(np.array([a], dtype), np.array([b], dtype))
    assert (found.ulp, found.expected_hex, found.observed_hex) == (distance, a_hex, b_hex)


def test_halves_are_compared_by_their_own_bits() -> None:
    want, have = (np.array([bits], np.uint16).view(np.float16) for bits in (0x3C00, 0x3C01))
    found = compare(want, have)
    assert (found.ulp, found.expected_hex, found.observed_hex) == (1, "0x3c00", "0x3c01")


def test_the_text_names_place_numbers_and_replay() -> None:
    text = str(compare(f32(0x3F800000), f32(0x3F800001)))
    assert "first difference on cortex-a53 (op by op, chunks of 4, 1 thread): position 3, " in text
    assert "op output 2, RmsNorm `y`" in text
    assert "1 of 1 elements differ, first at index 0" in text
    assert "device    1.0000001 (0x3f800001), 1 ULP apart" in text
    assert "replay with: bitexport verify 'out/my model' --replay case.npz" in text
    assert "op by op it agrees" not in text


def test_of_a_fused_run_the_text_says_that_op_by_op_agrees() -> None:
    assert "op by op it agrees" in str(compare(f32(0), f32(1), traced=False))


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"no case", b"PK\x03\x04", npy(f32(1)), npz(), npz(chunk=f32(1, 2))],
    ids=["nothing", "text", "half a zip", "an array", "no arrays", "other arrays"],
)
def test_a_file_that_is_no_case_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "case.npz"
    path.write_bytes(content)
    nothing: Any = None  # neither model nor device is asked
    with pytest.raises(BundleError, match="not a replay file"):
        replay(nothing, nothing, nothing, path)
