"""`bitexport inspect`: facts on stdout, for a person or as JSON, for every kind of path."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from tests.tiny_checkpoint import Checkpoint

from bitexport.emit.manifest import Bundle

Say = Callable[..., Result]
Refuse = Callable[..., Result]


@pytest.mark.parametrize("kind", ["checkpoint", "safetensors", "bundle", "onnx", "bitx"])
def test_every_kind_is_shown_and_printed_as_json(
    kind: str, tiny: Checkpoint, bundles: dict[str, Bundle], said: Say
) -> None:
    bundle = bundles["tiny"]
    path = {
        "checkpoint": tiny.path, "safetensors": tiny.path / "model.safetensors",
        "bundle": bundle.path, "onnx": bundle.graph, "bitx": bundle.data,
    }[kind]  # fmt: skip
    shown, as_json = said("inspect", path), said("inspect", path, "--json")
    assert (shown.exit_code, as_json.exit_code) == (0, 0)
    assert shown.stderr == as_json.stderr == ""
    facts = json.loads(as_json.stdout)
    assert facts["kind"] == kind
    assert shown.stdout.startswith(f"kind: {kind}\npath: {path}\n")
    assert [line for line in shown.stdout.splitlines() if line.startswith("Traceback")] == []
    assert all(f"{key}:" in shown.stdout for key in facts)


def test_a_path_that_is_missing_is_exit_1(tmp_path: Path, refused: Refuse) -> None:
    refused(1, "no such file or folder", "inspect", tmp_path / "absent")


def test_a_file_of_no_known_kind_is_exit_1(tmp_path: Path, refused: Refuse) -> None:
    (tmp_path / "notes.txt").write_text("", encoding="utf-8")
    refused(1, "not a kind of file", "inspect", tmp_path / "notes.txt")


@pytest.mark.parametrize(("name", "code"), [("x.safetensors", 3), ("x.onnx", 3), ("x.bitx", 1)])
@pytest.mark.parametrize("data", [b"", b"\xff" * 100], ids=["empty", "noise"])
def test_a_file_that_is_not_what_it_is_called_is_refused(
    name: str, code: int, data: bytes, tmp_path: Path, refused: Refuse
) -> None:
    (tmp_path / name).write_bytes(data)
    refused(code, str(tmp_path / name), "inspect", tmp_path / name)


def test_a_folder_that_is_neither_is_exit_3(tmp_path: Path, refused: Refuse) -> None:
    refused(3, "holds neither model.safetensors", "inspect", tmp_path)
