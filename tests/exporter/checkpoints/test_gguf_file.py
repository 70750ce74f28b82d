"""A GGUF file says what the `gguf` package wrote, or which rule of the format it breaks."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tests.gguf_bytes import Raw, floats, gguf_bytes, head_bytes, key, text, typed

from bitexport.checkpoints.gguf_file import has_magic, read_file
from bitexport.errors import CheckpointError

ROWS = Raw(0, (2, 8), np.arange(16, dtype="<f4").tobytes())
KEY = key("general.alignment", typed("u32", 32))


def refused(path: Path, data: bytes, *names: str) -> None:
    """Check that a file of these bytes is refused, naming it and these, with a hint."""
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as refusal:
        read_file(path)
    assert str(path) in str(refusal.value)
    for name in names:
        assert name in str(refusal.value)
    assert refusal.value.hint


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where a test may write its file; nothing of it depends on the suffix."""
    return tmp_path / "model.bin"


# ---- what the gguf package writes -------------------------------------------------------------

TYPES = gguf.GGMLQuantizationType


@pytest.mark.parametrize("alignment", [32, 64, 512])
def test_a_file_of_the_gguf_package_is_read_as_its_own_reader_reads_it(
    file: Path, alignment: int
) -> None:
    rng = np.random.default_rng(3)
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_custom_alignment(alignment)
    writer.add_name("a name, é")
    writer.add_uint8("a.u8", 255)
    writer.add_int8("a.i8", -128)
    writer.add_uint16("a.u16", 65535)
    writer.add_int16("a.i16", -32768)
    writer.add_int32("a.i32", -(1 << 31))
    writer.add_uint64("a.u64", (1 << 64) - 1)
    writer.add_int64("a.i64", -(1 << 63))
    writer.add_float32("a.f32", 0.1)
    writer.add_float64("a.f64", 0.1)
    writer.add_bool("a.bool", True)
    writer.add_array("a.tokens", ["one", "", "drei"])
    writer.add_array("a.scores", [0.5, -1.0])
    writer.add_array("a.types", [1, 2, -3])
    data: dict[str, np.ndarray[Any, Any]] = {
        "f32": rng.standard_normal((3, 256)).astype(np.float32),
        "f16": rng.standard_normal((5, 256)).astype(np.float16),
        "vector": rng.standard_normal(7).astype(np.float32),
    }
    for name, values in data.items():
        writer.add_tensor(name, values)
    packed = {}
    for kind in (TYPES.TQ1_0, TYPES.TQ2_0, TYPES.Q8_0, TYPES.Q4_0, TYPES.BF16):
        packed[kind.name] = gguf.quantize(data["f32"], kind)
        writer.add_tensor(kind.name, packed[kind.name], raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    found = read_file(file)
    assert found.version == 3
    assert found.metadata["general.name"] == "a name, é"
    expected = {
        "a.u8": 255, "a.i8": -128, "a.u16": 65535, "a.i16": -32768, "a.i32": -(1 << 31),
        "a.u64": (1 << 64) - 1, "a.i64": -(1 << 63), "a.f32": float(np.float32(0.1)), "a.f64": 0.1,
        "a.bool": True, "a.tokens": ["one", "", "drei"],
    }  # fmt: skip
    assert {name: found.metadata[name] for name in expected} == expected
    assert found.metadata["a.scores"].tolist() == [0.5, -1.0]
    assert found.metadata["a.types"].tolist() == [1, 2, -3]

    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    assert found.tensors.keys() == theirs.keys()
    for name, tensor in found.tensors.items():
        assert tensor.dtype == theirs[name].tensor_type.name
        assert tensor.offset == theirs[name].data_offset
        assert list(tensor.shape) == theirs[name].shape.tolist()[::-1]
        assert tensor.read_bytes(0, tensor.shape[0]).tobytes() == theirs[name].data.tobytes()
    for name, values in data.items():
        np.testing.assert_array_equal(found.tensors[name].read(), values)


def test_version_2_is_read_as_version_3(file: Path) -> None:
    file.write_bytes(gguf_bytes([KEY], {"a": ROWS}, version=2))
    assert read_file(file).version == 2
    np.testing.assert_array_equal(
        read_file(file).tensors["a"].read(), np.arange(16, dtype=np.float32).reshape(2, 8)
    )


def test_tensors_may_lie_in_another_order_than_their_entries(file: Path) -> None:
    tensors = {
        "second": Raw(0, (8,), np.full(8, 2, "<f4").tobytes(), offset=32),
        "first": Raw(0, (8,), np.full(8, 1, "<f4").tobytes(), offset=0),
    }
    head = head_bytes([], tensors)
    data = tensors["first"].data + tensors["second"].data
    file.write_bytes(head + bytes(-len(head) % 32) + data)
    found = read_file(file).tensors
    assert set(found["first"].read().tolist()) == {1.0}
    assert set(found["second"].read().tolist()) == {2.0}


def test_a_last_tensor_may_end_without_padding(file: Path) -> None:
    whole = gguf_bytes([], {"a": Raw(0, (3,), bytes(12))})
    file.write_bytes(whole[:-20])
    assert read_file(file).tensors["a"].nbytes == 12


def test_nested_arrays_are_read(file: Path) -> None:
    file.write_bytes(gguf_bytes([key("a", typed("[[u16]]", [[1, 2], [3]]))], {}))
    assert [part.tolist() for part in read_file(file).metadata["a"]] == [[1, 2], [3]]


def test_tokens_that_are_no_text_are_kept(file: Path) -> None:
    file.write_bytes(gguf_bytes([key("a", typed("[str]", [b"\xff\x00", "b"]))], {}))
    said = read_file(file).metadata["a"]
    assert said[0].encode("utf-8", "surrogateescape") == b"\xff\x00"


# ---- files that lie -----------------------------------------------------------------------------


def test_only_the_magic_makes_a_gguf_file(file: Path, tmp_path: Path) -> None:
    assert not has_magic(tmp_path / "absent.gguf")
    file.write_bytes(b"GGU")
    assert not has_magic(file)
    file.write_bytes(b"GGUF")
    assert has_magic(file)


def test_every_cut_of_a_file_is_refused(file: Path) -> None:
    whole = gguf_bytes(
        [KEY, key("b", typed("[str]", ["x", "y"])), key("c", typed("[f32]", [1.0]))],
        {"a": ROWS, "z": ROWS},
    )
    for length in range(len(whole)):
        refused(file, whole[:length])
    file.write_bytes(whole)
    assert read_file(file).tensors.keys() == {"a", "z"}


def test_every_byte_of_a_head_may_be_wrong(file: Path) -> None:
    keys = [KEY, key("b", typed("[str]", ["x", "y"]))]
    head = head_bytes(keys, {"a": ROWS, "z": ROWS})
    whole = gguf_bytes(keys, {"a": ROWS, "z": ROWS})
    for place in range(len(head)):
        for flip in (0x01, 0x80, 0xFF):
            changed = bytearray(whole)
            changed[place] ^= flip
            file.write_bytes(bytes(changed))
            try:
                found = read_file(file)
            except CheckpointError as refusal:
                assert refusal.hint  # noqa: PT017
                continue
            for tensor in found.tensors.values():
                tensor.read()


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"GGML" + bytes(20), "does not begin with `GGUF`"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "GGUF version 1"),
        (b"GGUF" + struct.pack("<IQQ", 4, 0, 0), "GGUF version 4"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 0), "claims 1099511627776 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 63), "claims 9223372036854775808 keys"),
        (gguf_bytes([key("a", typed("u8", 1))] * 2, {}), "the key `a` is there twice"),
        (gguf_bytes([key("a", struct.pack("<I", 13))], {}), "key `a` has the unknown type 13"),
        (gguf_bytes([key(b"\xff", typed("u8", 1))], {}), "not UTF-8"),
        (gguf_bytes([struct.pack("<Q", 1 << 62)], {}), "has a name of 4611686018427387904 bytes"),
        (
            gguf_bytes([text("a") + struct.pack("<IQ", 8, (1 << 64) - 1)], {}),
            "ends inside key `a`",
        ),
        (
            gguf_bytes([text("a") + struct.pack("<IIQ", 9, 8, 1 << 60)], {}),
            "key `a` claims 1152921504606846976 elements",
        ),
        (gguf_bytes([text("a") + struct.pack("<IIQ", 9, 12, 1 << 61)], {}), "ends inside key `a`"),
        (
            gguf_bytes([text("a") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 40], {}),
            "nested more than 4 deep",
        ),
        (gguf_bytes([key("general.alignment", typed("u32", 0))], {}), "`general.alignment` is 0"),
        (gguf_bytes([key("general.alignment", typed("u32", 48))], {}), "is 48, not a power of two"),
        (gguf_bytes([key("general.alignment", typed("str", "32"))], {}), "is '32', not a power"),
        (gguf_bytes([], {"a": Raw(0, (), bytes(4))}), "tensor `a` has 0 axes"),
        (gguf_bytes([], {"a": Raw(0, (1,) * 5, bytes(4))}), "tensor `a` has 5 axes"),
        (gguf_bytes([], {"a": Raw(0, (0, 8), b"")}), "tensor `a` has the sizes [8, 0]"),
        (gguf_bytes([], {"a": Raw(0, (1 << 40, 1 << 40), b"")}), "tensor `a` has the sizes"),
        (gguf_bytes([], {"a": Raw(0, (8,), bytes(32), offset=8)}), "starts at 8, not at 32 bytes"),
        (gguf_bytes([], {"a": Raw(0, (8,), bytes(32), offset=32)}), "starts at 32, not at 0"),
        (
            gguf_bytes([], {"a": ROWS, "b": Raw(0, (8,), bytes(32), offset=0)}),
            "tensor `a` overlaps another",
        ),
        (
            gguf_bytes([], {"a": ROWS, "b": Raw(0, (8,), bytes(32), offset=32)}),
            "tensor `a` of type F32 needs 64 bytes, 32 lie up to the next one",
        ),
        (
            gguf_bytes([], {"a": ROWS, "b": Raw(0, (8,), bytes(32), offset=1 << 40)}),
            "tensor `b` lies outside the file",
        ),
        (gguf_bytes([], {"a": Raw(0, (8,), bytes(96))}), "needs 32 bytes, 96 lie up to the next"),
        (gguf_bytes([], {"a": Raw(34, (1, 320), bytes(108))}), "blocks of TQ1_0 hold 256"),
        (gguf_bytes([], {"a": Raw(36, (2, 20), bytes(64))}), "blocks of I2_S hold 128"),
        (gguf_bytes([], {"a": Raw(13, (1, 256), bytes(176))}), "is of type 13, Q5_K"),
        (gguf_bytes([], {"a": Raw(38, (1, 256), bytes(96))}), "is of type 38, TL1"),
        (gguf_bytes([], {"a": Raw(143, (1, 128), bytes(32))}), "is of type 143, PTQ1_0"),
        (gguf_bytes([], {"a": Raw(77, (1, 256), bytes(96))}), "type 77, which ggml does not have"),
    ],
    ids=["magic", "version_1", "version_4", "big_endian", "tensor_count", "key_count", "key_twice",
         "key_type", "key_not_text", "key_length", "string_length", "array_of_strings_count",
         "array_of_numbers_count", "array_depth", "alignment_zero", "alignment_odd",
         "alignment_string", "no_axes", "axes", "size_zero", "sizes_overflow", "offset_unaligned",
         "hole_at_start", "same_offset", "overlap", "offset_past_end", "hole_at_end",
         "ragged_tq1_0", "ragged_i2_s", "type_q4_k", "type_tl1", "type_ptq1_0", "type_unknown"],
)  # fmt: skip
def test_a_file_that_breaks_a_rule_is_refused(file: Path, data: bytes, names: str) -> None:
    refused(file, data, names)


def test_the_hint_of_a_type_that_is_not_read_names_what_a_weight_may_be(file: Path) -> None:
    file.write_bytes(gguf_bytes([], {"a": Raw(13, (1, 256), bytes(176))}))
    with pytest.raises(CheckpointError) as refusal:
        read_file(file)
    assert refusal.value.hint == (
        "this version reads F32, F16, Q4_0, Q8_0, Q4_K, Q6_K, BF16, TQ1_0, TQ2_0, I2_S, Q1_0, "
        "Q2_0, PQ2_0"
    )


def test_a_tensor_twice_is_refused(file: Path) -> None:
    one = head_bytes([], {"a": ROWS})
    entry = one[24:]
    head = one[:8] + struct.pack("<QQ", 2, 0) + entry + entry
    refused(file, head + bytes(-len(head) % 32) + ROWS.data * 2, "tensor `a` is there twice")


def test_a_file_that_is_cut_while_it_is_read_is_refused(file: Path) -> None:
    file.write_bytes(gguf_bytes([], {"a": floats(np.ones((4, 8)))}))
    tensor = read_file(file).tensors["a"]
    with file.open("r+b") as stream:
        stream.truncate(tensor.offset + 40)
    assert tensor.read_rows(0, 1).tolist() == [[1.0] * 8]
    with pytest.raises(CheckpointError, match="ends inside tensor `a`"):
        tensor.read_rows(0, 4)
