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


def test_a_graph_is_shown_drawn_and_printed_as_json(
    bundles: dict[str, Bundle], said: Say, tmp_path: Path
) -> None:
    bundle = bundles["tiny"].path
    shown = said("inspect", bundle, "--graph")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "2 times: layers 0 to 1" in shown.stdout
    facts = json.loads(said("inspect", bundle, "--graph", "--json").stdout)
    assert [part["times"] for part in facts["parts"]] == [1, 2, 1]
    for name, start in (("graph.html", "<!DOCTYPE html>"), ("graph.svg", "<?xml ")):
        drawn = said("inspect", bundle, "--draw", tmp_path / name)
        assert (drawn.exit_code, drawn.stdout) == (0, "")
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)


def test_a_drawing_that_cannot_be_made_is_refused(
    bundles: dict[str, Bundle], tiny: Checkpoint, refused: Refuse, said: Say, tmp_path: Path
) -> None:
    bundle = bundles["tiny"].path
    refused(1, "no/graph.svg", "inspect", bundle, "--draw", tmp_path / "no" / "graph.svg")
    refused(1, "holds tensors but no graph", "inspect", tiny.path / "model.safetensors", "--graph")
    refused(1, "no such file", "inspect", tmp_path / "absent", "--graph")
    other = said("inspect", bundle, "--draw", tmp_path / "graph.pdf")
    assert (other.exit_code, list(tmp_path.iterdir())) == (64, [])
    assert "neither .html nor .svg" in other.stderr
