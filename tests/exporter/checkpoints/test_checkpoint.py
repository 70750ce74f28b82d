"""The container is what the files hold, whatever they are called; two of them are no guess."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.gguf_bytes import write_model
from tests.tiny_checkpoint import write_checkpoint

from bitexport.checkpoints.checkpoint import CONTAINERS, open_checkpoint
from bitexport.errors import CheckpointError


def refused(path: Path, *names: str, container: str | None = None) -> str:
    with pytest.raises(CheckpointError) as refusal:
        open_checkpoint(path, container)
    for name in (str(path), *names):
        assert name in str(refusal.value)
    assert refusal.value.hint
    return refusal.value.hint


@pytest.mark.parametrize("name", ["model.gguf", "ggml-model-i2_s", "model.safetensors", "a.bin"])
def test_a_gguf_is_known_by_its_first_bytes(tmp_path: Path, name: str) -> None:
    path = write_model(tmp_path / name, "llama", {})
    assert open_checkpoint(path).container == "gguf"
    inside = open_checkpoint(tmp_path)
    assert (inside.container, inside.path) == ("gguf", path)


def test_safetensors_called_gguf_are_no_gguf(broken: Path) -> None:
    single = broken / "model.safetensors"
    single.rename(broken / "model.gguf")
    refused(broken / "model.gguf", "no GGUF file")
    refused(broken, "neither")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_one_file_of_a_folder_is_answered_with_the_folder(broken: Path, name: str) -> None:
    hint = refused(broken / name, "one file of a checkpoint")
    assert hint == f"give its folder: {broken}"
    refused(broken / "absent", "no such checkpoint folder")


def test_a_folder_of_checkpoints_is_answered_with_their_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_checkpoint(tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path, "holds neither") == "give one of its folders: a, b"
    (tmp_path / "c").mkdir()
    write_model(tmp_path / "c" / "m.gguf", "llama", {})
    assert refused(tmp_path, "holds neither") == "give one of its folders: a, b, c"


def test_digests_of_a_gguf_are_that_of_its_file(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf", "llama", {})
    assert open_checkpoint(path).digests() == {
        "m.gguf": hashlib.sha256(path.read_bytes()).hexdigest()
    }


def test_two_gguf_files_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "a.gguf", "llama", {})
    write_model(tmp_path / "b.gguf", "llama", {})
    refused(tmp_path, "holds 2 GGUF files, `a.gguf` and `b.gguf`")
    assert open_checkpoint(tmp_path / "b.gguf").path == tmp_path / "b.gguf"


def test_a_folder_with_two_containers_wants_to_be_told(broken: Path, tmp_path: Path) -> None:
    write_model(broken / "m.gguf", "llama", {})
    refused(broken, "as safetensors and as gguf")
    assert open_checkpoint(broken, "gguf").path == broken / "m.gguf"
    found = open_checkpoint(broken, "safetensors")
    assert (found.path, found.container) == (broken, "safetensors")
    assert found.config_file == broken / "config.json"
    refused(broken, "holds no sharded checkpoint", container="sharded")
    write_checkpoint(tmp_path / "sharded", shards=2)
    (broken / "model.safetensors").rename(tmp_path / "sharded" / "model.safetensors")
    refused(tmp_path / "sharded", "as sharded and as safetensors")
    for container in CONTAINERS[:2]:
        assert open_checkpoint(tmp_path / "sharded", container).container == container


# ---- keys that are there twice ------------------------------------------------------------------


def with_text(folder: Path, before: str) -> Path:
    """Put text into the config.json of a folder, before its first key."""
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text = json.dumps(said)
    (folder / "config.json").write_text("{" + before + text[1:], encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("first", "second", "meaning"),
    [
        ("null", "null", None),
        ("null", '["lm_head"]', ["lm_head"]),
        ('["lm_head"]', "null", ["lm_head"]),
        ('["lm_head"]', '["lm_head"]', ["lm_head"]),
    ],
)
def test_modules_not_converted_may_be_there_twice(
    broken: Path, first: str, second: str, meaning: Any
) -> None:
    twice = f'"modules_to_not_convert": {first}, "modules_to_not_convert": {second}'
    found = open_checkpoint(with_text(broken, f'"other": {{{twice}}}, '))
    assert found.config["other"] == {"modules_to_not_convert": meaning}


@pytest.mark.parametrize(
    "twice",
    [
        '"a": 1, "a": 2',
        '"a": null, "a": 1',
        '"a": 1, "a": true',
        '"modules_to_not_convert": ["a"], "modules_to_not_convert": ["b"]',
    ],
)
def test_a_key_with_two_meanings_is_refused(broken: Path, twice: str) -> None:
    refused(with_text(broken, f"{twice}, "), "is there twice")


def test_a_key_twice_with_one_meaning_is_read(broken: Path) -> None:
    found = open_checkpoint(with_text(broken, '"a": {"x": 1, "y": 2}, "a": {"y": 2, "x": 1}, '))
    assert found.config["a"] == {"x": 1, "y": 2}
