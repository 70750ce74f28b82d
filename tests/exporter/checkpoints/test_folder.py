"""A checkpoint folder: one file or shards, and every way in which it can be incomplete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tiny_checkpoint import Checkpoint, read_safetensors, write_checkpoint, write_json

from bitexport.checkpoints.checkpoint import open_checkpoint
from bitexport.checkpoints.folder import INDEX
from bitexport.errors import CheckpointError


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """Return the folder of the tiny checkpoint in three shards, sound until it is broken."""
    return write_checkpoint(tmp_path / "sharded", shards=3).path


def refused(path: Path, *names: str) -> None:
    """Check that the folder is refused, naming these, with a hint, in the class of exit code 3."""
    with pytest.raises(CheckpointError) as refusal:
        open_checkpoint(path)
    assert refusal.value.exit_code == 3
    for name in names:
        assert name in str(refusal.value)
    assert refusal.value.hint


def test_shards_hold_what_the_single_file_holds(tiny: Checkpoint, sharded: Path) -> None:
    single, shards = open_checkpoint(tiny.path), open_checkpoint(sharded)
    assert shards.tensors.keys() == single.tensors.keys()
    assert len({tensor.file for tensor in shards.tensors.values()}) == 3
    for name, tensor in single.tensors.items():
        assert shards.tensors[name].read().tobytes() == tensor.read().tobytes()


def test_digests_are_those_of_the_files(sharded: Path) -> None:
    digests = open_checkpoint(sharded).digests()
    assert digests.keys() == {"config.json", *(p.name for p in sharded.glob("*.safetensors"))}
    for name, digest in digests.items():
        assert digest == hashlib.sha256((sharded / name).read_bytes()).hexdigest()


# ---- config.json -----------------------------------------------------------------------------


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "absent", str(tmp_path / "absent"))


def test_a_file_is_no_folder(tiny: Checkpoint) -> None:
    refused(tiny.path / "config.json", "one file of a checkpoint")


def test_a_folder_without_config_is_refused(broken: Path) -> None:
    (broken / "config.json").unlink()
    refused(broken, str(broken / "config.json"))


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"{}{}", b"\xff\xfe", b"[1]", b"7", b"null", b"[" * 200_000],
    ids=["empty", "cut", "twice", "not_utf8", "list", "number", "null", "nested_without_end"],
)
def test_a_config_that_is_no_json_object_is_refused(broken: Path, text: bytes) -> None:
    (broken / "config.json").write_bytes(text)
    refused(broken, f"{broken / 'config.json'}: not a JSON object")


def test_a_config_that_is_a_folder_is_refused(broken: Path) -> None:
    (broken / "config.json").unlink()
    (broken / "config.json").mkdir()
    refused(broken, str(broken / "config.json"), "Is a directory")


# ---- weights ---------------------------------------------------------------------------------


def test_a_folder_without_weights_is_refused(broken: Path) -> None:
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    refused(broken, str(broken), "model.safetensors")


def test_a_tensor_in_two_shards_is_refused(sharded: Path) -> None:
    first, second = sorted(sharded.glob("*.safetensors"))[:2]
    name = next(iter(read_safetensors(first)))
    second.write_bytes(first.read_bytes())
    refused(sharded, str(second), f"`{name}` is also in {first.name}")


def name_first_shard(name: object) -> Callable[[dict[str, object]], object]:
    """Let the index name another file for the first tensor."""
    return lambda said: said | {"weight_map": {"x": name}}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (name_first_shard("absent.safetensors"), "`absent.safetensors`"),
        (name_first_shard("../sharded/model-00001-of-00003.safetensors"), "`../sharded/"),
        (name_first_shard(".."), "`..`"),
        (name_first_shard("/etc/passwd"), "`/etc/passwd`"),
        (name_first_shard(""), "``"),
        (name_first_shard("."), "`.`"),
        (name_first_shard("a\0b"), "shard"),
        (name_first_shard("a" * 5000), "shard"),
        (name_first_shard(3), "weight_map"),
        (name_first_shard(None), "weight_map"),
        (lambda said: said | {"weight_map": ["x"]}, "weight_map"),
        (lambda said: {}, "weight_map"),
        (lambda said: [said], "not a JSON object"),
    ],
    ids=["shard_absent", "shard_outside", "shard_parent", "shard_absolute", "shard_empty",
         "shard_dot", "shard_with_zero_byte", "shard_name_too_long", "shard_number", "shard_null",
         "map_list", "map_absent", "index_list"],
)  # fmt: skip
def test_an_index_that_lies_is_refused(
    sharded: Path, change: Callable[[dict[str, object]], object], names: str
) -> None:
    said = json.loads((sharded / INDEX).read_text(encoding="utf-8"))
    write_json(sharded / INDEX, change(said))
    refused(sharded, str(sharded / INDEX), names)


def test_a_shard_that_is_missing_is_named(sharded: Path) -> None:
    shard = sorted(sharded.glob("*.safetensors"))[1]
    shard.unlink()
    refused(sharded, str(sharded / INDEX), f"`{shard.name}`")


def test_an_index_that_is_no_json_is_refused(sharded: Path) -> None:
    (sharded / INDEX).write_text("{", encoding="utf-8")
    refused(sharded, str(sharded / INDEX), "not a JSON object")


# ---- tensors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dtypes", "shape", "names"),
    [
        ("model.norm.bias", ("BF16",), (64,), "tensor `model.norm.bias` is missing"),
        ("model.norm.weight", ("F32", "F16"), (64,), "is BF16, expected F32 or F16"),
        ("model.norm.weight", ("BF16",), (65,), "has shape [64], config.json promises [65]"),
        ("model.norm.weight", ("BF16",), (64, 1), "has shape [64], config.json promises [64, 1]"),
    ],
    ids=["missing", "dtype", "shape", "rank"],
)
def test_a_tensor_that_is_not_as_promised_is_refused(
    tiny: Checkpoint, name: str, dtypes: tuple[str, ...], shape: tuple[int, ...], names: str
) -> None:
    with pytest.raises(CheckpointError) as refusal:
        open_checkpoint(tiny.path).tensor(name, dtypes, shape)
    assert names in str(refusal.value)
    assert str(tiny.path) in str(refusal.value)
    assert refusal.value.hint
