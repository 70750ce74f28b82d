"""The manifest: what it says is true, and one that says less is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_checkpoint import Checkpoint

from bitexport.emit.manifest import MANIFEST, Bundle, open_bundle
from bitexport.errors import BundleError


@pytest.fixture
def copied(bundles: dict[str, Bundle], tmp_path: Path) -> Path:
    """Return the folder of a bundle that is sound until the test breaks it."""
    return Path(shutil.copytree(bundles["tiny"].path, tmp_path / "bundle"))


def refused(path: Path, *names: str, check_files: bool = True) -> None:
    """Check that the bundle is refused, naming these, with a hint."""
    with pytest.raises(BundleError) as refusal:
        open_bundle(path, check_files=check_files)
    for name in names:
        assert name in str(refusal.value)
    assert refusal.value.hint


def test_every_file_has_the_hash_that_is_written_and_no_file_is_left_out(
    bundles: dict[str, Bundle],
) -> None:
    bundle = bundles["tiny"]
    there = {
        path.relative_to(bundle.path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in bundle.path.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }
    assert bundle.manifest["files"] == there


def test_the_manifest_says_what_was_built(bundles: dict[str, Bundle], tiny: Checkpoint) -> None:
    manifest = bundles["tiny"].manifest
    assert (manifest["target"], manifest["layout"]) == ("arm64", "p2r")
    assert manifest["options"] == {"cache": "f16"}  # what was chosen, or what always is
    assert manifest["model"]["hidden"] == tiny.shape.hidden
    assert manifest["memory"]["data_bytes"] == bundles["tiny"].data.stat().st_size
    assert (
        manifest["checkpoint"]["model.safetensors"]
        == hashlib.sha256((tiny.path / "model.safetensors").read_bytes()).hexdigest()
    )


def test_a_sound_bundle_opens(copied: Path) -> None:
    assert open_bundle(copied, check_files=True).target_name == "arm64"


@pytest.mark.parametrize(
    "name", ["model.bitx", "model.onnx", "tokenizer.json", "include/bitexport.h", "sources.cmake"]
)
def test_a_flipped_bit_is_found_and_its_file_named(copied: Path, name: str) -> None:
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(data)
    refused(copied, str(copied / name), "is not the file that was built")


@pytest.mark.parametrize("name", ["model.bitx", "model.onnx", "tokenizer.json"])
def test_a_missing_file_is_named(copied: Path, name: str) -> None:
    (copied / name).unlink()
    refused(copied, str(copied / name), "is missing")


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    refused(tmp_path, f"{tmp_path}: not a bundle")
    refused(tmp_path / "absent", "absent: not a bundle")


def drop(key: str) -> Callable[[dict[str, Any]], object]:
    """Take a key out."""
    return lambda said: {k: v for k, v in said.items() if k != key}


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said | {"manifest_version": 2},
        lambda said: said | {"manifest_version": "1"},
        lambda said: said | {"files": []},
        lambda said: said | {"target": 3},
        lambda said: said | {"model": {}},
        lambda said: said | {"model": said["model"] | {"context": "64"}},
        lambda said: [said],
        lambda said: None,
        *(drop(key) for key in ("manifest_version", "target", "files", "model", "layout", "tool",
                                "options", "memory", "checkpoint")),
    ],
)  # fmt: skip
def test_a_manifest_of_another_shape_is_refused(
    copied: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    said = json.loads((copied / MANIFEST).read_text(encoding="utf-8"))
    (copied / MANIFEST).write_text(json.dumps(change(said)), encoding="utf-8")
    refused(copied, str(copied / MANIFEST), check_files=False)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff"])
def test_a_manifest_that_is_no_json_is_refused(copied: Path, text: bytes) -> None:
    (copied / MANIFEST).write_bytes(text)
    refused(copied, str(copied / MANIFEST), "not valid JSON", check_files=False)
