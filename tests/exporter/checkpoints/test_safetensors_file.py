"""A safetensors file gives its tensors' bytes; a broken one says what is broken, by name."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
from tests.tiny_checkpoint import (
    Checkpoint,
    Stored,
    read_safetensors,
    safetensors_bytes,
    safetensors_header,
    write_safetensors,
)

from bitexport.checkpoints.safetensors_file import HEADER_LIMIT, read_header
from bitexport.checkpoints.stored_tensor import DTYPES
from bitexport.errors import CheckpointError

A, B = Stored("F32", (2, 3), bytes(range(24))), Stored("U8", (5,), bytes(range(5)))
SOUND = {"a": A, "b": B}
DATA = A.data + B.data

Header = dict[str, Any]


# ---- sound files -----------------------------------------------------------------------------


def test_tensors_are_those_that_the_format_s_own_package_reads(each: Checkpoint) -> None:
    path = each.path / "model.safetensors"
    theirs = dict(safetensors.deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
    ours = read_header(path)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.read().tobytes() == bytes(theirs[name]["data"])
        assert list(tensor.shape) == theirs[name]["shape"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_keeps_its_bytes(dtype: str, tmp_path: Path) -> None:
    size = 6 * DTYPES[dtype].itemsize
    data = bytes(size) if dtype == "BOOL" else bytes(range(7, 7 + size))
    write_safetensors(tmp_path / "one", {"x": Stored(dtype, (3, 2), data)})
    tensor = read_header(tmp_path / "one")["x"]
    assert tensor.read().tobytes() == data
    half = size // 3
    assert [tensor.read_rows(i, i + 1).tobytes() for i in (2, 0, 1)] == [
        data[2 * half :], data[:half], data[half : 2 * half],
    ]  # fmt: skip


def test_a_scalar_and_an_empty_tensor_are_tensors(tmp_path: Path) -> None:
    tensors = {
        "a": A,
        "empty": Stored("F32", (0, 4), b""),
        "scalar": Stored("F32", (), b"\0\0\x80\x3f"),
    }
    write_safetensors(tmp_path / "one", tensors)
    header = read_header(tmp_path / "one")
    assert header["scalar"].read() == np.float32(1)
    assert header["empty"].read().shape == (0, 4)


def test_an_empty_tensor_may_share_the_offset_of_the_next(tmp_path: Path) -> None:
    header = safetensors_header(SOUND)
    header["empty"] = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    (tmp_path / "one").write_bytes(safetensors_bytes(header, DATA))
    assert read_header(tmp_path / "one").keys() == {"a", "b", "empty"}


def test_metadata_and_padding_of_the_header_say_nothing(tmp_path: Path) -> None:
    header = {"__metadata__": {"format": "pt"}, **safetensors_header(SOUND)}
    text = json.dumps(header).encode() + b"   "
    (tmp_path / "one").write_bytes(safetensors_bytes(text, DATA))
    assert read_header(tmp_path / "one").keys() == {"a", "b"}


def test_tensors_may_lie_in_another_order_than_the_header_names_them(tmp_path: Path) -> None:
    header = dict(reversed(safetensors_header(SOUND).items()))
    (tmp_path / "one").write_bytes(safetensors_bytes(header, DATA))
    assert read_header(tmp_path / "one")["b"].read().tobytes() == B.data


# ---- broken files ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Fault:
    """One way to break a file that is sound otherwise, and what the refusal must name."""

    name: str
    break_header: Callable[[Header], object]
    names: str
    data: bytes = DATA


def changed(tensor: str, **entry: object) -> Callable[[Header], object]:
    """Change the entry of a tensor."""
    return lambda header: header | {tensor: header[tensor] | entry}


def without(tensor: str, key: str) -> Callable[[Header], object]:
    """Take a key out of the entry of a tensor."""
    return lambda header: header | {tensor: {k: v for k, v in header[tensor].items() if k != key}}


def as_text(change: Callable[[bytes], bytes]) -> Callable[[Header], object]:
    """Change the text of the header."""
    return lambda header: change(json.dumps(header).encode())


def same(header: Header) -> Header:
    """Leave the header as it is."""
    return header


FAULTS = [
    Fault("data_truncated", same, "end at byte", DATA[:-1]),
    Fault("data_absent", same, "end at byte", b""),
    Fault("data_over_long", same, "end at byte", DATA + b"\0"),
    Fault("data_hole", changed("b", data_offsets=[25, 30]), "`b` starts at 25", DATA + b"\0"),
    Fault("data_hole_at_start",
          lambda h: h | {"a": h["a"] | {"data_offsets": [1, 25]},
                         "b": h["b"] | {"data_offsets": [25, 30]}}, "`a`", DATA + b"\0"),
    Fault("data_overlapping", changed("b", data_offsets=[20, 25]), "`b` starts at 20"),
    Fault("data_shared", lambda h: h | {"c": h["a"]}, "starts at 0"),
    Fault("offset_negative", changed("a", data_offsets=[-24, 0]), "`a`"),
    Fault("offset_reversed", changed("a", data_offsets=[24, 0]), "`a`"),
    Fault("offset_past_end", changed("b", data_offsets=[1 << 40, (1 << 40) + 5]), "`b`"),
    Fault("offset_beyond_64_bits", changed("b", data_offsets=[1 << 70, (1 << 70) + 5]), "`b`"),
    Fault("offset_float", changed("b", data_offsets=[24.0, 29.0]), "`b`"),
    Fault("offset_string", changed("b", data_offsets=["24", "29"]), "`b`"),
    Fault("offset_true", changed("a", data_offsets=[False, 24]), "`a`"),
    Fault("offsets_three", changed("b", data_offsets=[24, 26, 29]), "`b`"),
    Fault("offsets_lie_about_shape", changed("b", data_offsets=[24, 28]), "`b` spans 4 bytes"),
    Fault("shape_lies_about_offsets", changed("b", shape=[6]), "`b` spans 5 bytes"),
    Fault("shape_negative", changed("b", shape=[-5]), "`b` has the shape"),
    Fault("shape_twice_negative", changed("b", shape=[-1, -5]), "`b` has the shape"),
    Fault("shape_beyond_64_bits", changed("b", shape=[1 << 70]), "`b`"),
    Fault("shape_number", changed("b", shape=5), "`b`"),
    Fault("shape_true", changed("b", shape=[True, 5]), "`b` has the shape"),
    Fault("dtype_wrong", changed("b", dtype="F32"), "`b` spans 5 bytes, its shape needs 20"),
    Fault("dtype_unknown", changed("b", dtype="F4"), "`b` has the unknown dtype `F4`"),
    Fault("dtype_number", changed("b", dtype=3), "`b`"),
    Fault("dtype_missing", without("b", "dtype"), "`b`"),
    Fault("shape_missing", without("b", "shape"), "`b`"),
    Fault("offsets_missing", without("b", "data_offsets"), "`b`"),
    Fault("entry_null", lambda h: h | {"b": None}, "`b`"),
    Fault("entry_list", lambda h: h | {"b": [1, 2]}, "`b`"),
    Fault("header_list", lambda h: [h], "not a JSON object"),
    Fault("header_number", lambda _: 7, "not a JSON object"),
    Fault("header_empty_text", lambda _: b"", "not a JSON object"),
    Fault("header_not_utf8", as_text(lambda text: text.replace(b"b", b"\xff")),
          "not a JSON object"),
    Fault("header_cut", as_text(lambda text: text[:-1]), "not a JSON object"),
    Fault("header_twice", as_text(lambda text: text + text), "not a JSON object"),
    Fault("header_nested_without_end", lambda _: b"[" * 200_000, "not a JSON object"),
    Fault("header_number_without_end", lambda _: b'{"a": ' + b"9" * 5000 + b"}",
          "not a JSON object"),
    Fault("tensor_named_twice",
          lambda h: (json.dumps(h)[:-1] + ', "b": ' + json.dumps(h["b"]) + "}").encode(), "`b`"),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_broken_file_is_refused_by_name(fault: Fault, tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    header = fault.break_header(safetensors_header(SOUND))
    path.write_bytes(safetensors_bytes(header, fault.data))
    refused(path, fault.names)


@pytest.mark.parametrize("size", range(8))
def test_a_file_shorter_than_its_header_s_length_is_refused(size: int, tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(bytes(size))
    refused(path, f"the file has {size}")


@pytest.mark.parametrize("length", [30, HEADER_LIMIT + 1, 1 << 63, (1 << 64) - 1])
def test_a_header_longer_than_its_file_is_refused(length: int, tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + bytes(29))
    refused(path, f"its header claims {length} bytes, the file has 37")


def test_every_cut_of_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    whole = safetensors_bytes(safetensors_header(SOUND), DATA)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        refused(path, "not a sound safetensors file")


def test_a_flipped_bit_of_the_header_never_stumbles(tiny: Checkpoint, tmp_path: Path) -> None:
    """What JSON still reads may be another sound file: then it gives other names or dtypes."""
    path = tmp_path / "broken.safetensors"
    whole = safetensors_bytes(safetensors_header(SOUND), DATA)
    sound = read_as(whole, path)
    for bit in range(8 * (len(whole) - len(DATA))):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(CheckpointError):
            assert read_as(bytes(flipped), path) != sound


def read_as(data: bytes, path: Path) -> dict[str, tuple[str, tuple[int, ...], int]]:
    """Write a file and read its header."""
    path.write_bytes(data)
    return {name: (t.dtype, t.shape, t.offset) for name, t in read_header(path).items()}


def refused(path: Path, names: str) -> None:
    """Check that the file is refused by its name, with a hint, in the class of exit code 3."""
    with pytest.raises(CheckpointError) as refusal:
        read_header(path)
    assert refusal.value.exit_code == 3
    assert str(path) in str(refusal.value)
    assert names in str(refusal.value)
    assert refusal.value.hint


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "absent.safetensors", "No such file")
    refused(tmp_path, "Is a directory")


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shrinking.safetensors"
    write_safetensors(path, SOUND)
    tensor = read_header(path)["b"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="ends inside tensor `b`") as refusal:
        tensor.read()
    assert refusal.value.hint


def test_what_the_recipe_writes_is_what_it_reads_back(tiny: Checkpoint) -> None:
    stored = read_safetensors(tiny.path / "model.safetensors")
    assert stored.keys() == {
        *(f"{name}.weight" for name in tiny.trits),
        *tiny.floats,
    }
