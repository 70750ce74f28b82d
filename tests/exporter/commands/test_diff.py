"""`bitexport diff`: exit code 0 equal, 1 different, more for trouble, as of diff(1)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from tests.tiny_checkpoint import Checkpoint, edit_config

from bitexport.emit.manifest import Bundle

Say = Callable[..., Result]
Refuse = Callable[..., Result]


def test_equal_is_0_and_different_is_1(
    tiny: Checkpoint, ragged: Checkpoint, said: Say, tmp_path: Path
) -> None:
    same = said("diff", tiny.path, tiny.path)
    assert (same.exit_code, same.stderr) == (0, "")
    assert same.stdout.startswith("equal: ")
    other = Path(shutil.copytree(tiny.path, tmp_path / "other"))
    edit_config(other, rope_theta=3.0)
    changed = said("diff", tiny.path, other)
    assert (changed.exit_code, changed.stderr) == (1, "")
    assert "  rope_theta  10000.0 / 3.0\n" in changed.stdout
    facts = json.loads(said("diff", tiny.path, ragged.path, "--json").stdout)
    assert facts["equal"] is False
    assert list(facts)[:5] == ["equal", "tensors", "ops", "bytes", "options"]
    assert {each["what"] for each in facts["tensors"]} >= {"shape"}


@pytest.mark.parametrize(
    ("spoil", "code", "names"),
    [
        ("absent", 2, "no such file"), ("damaged", 2, "model.bitx"), ("kinds", 2, "of two kinds"),
        ("noise", 3, "x.onnx"), ("folder", 3, "holds neither"),
    ],
)  # fmt: skip
def test_trouble_is_neither_0_nor_1(
    spoil: str, code: int, names: str, tiny: Checkpoint, bundles: dict[str, Bundle],
    refused: Refuse, tmp_path: Path,
) -> None:  # fmt: skip
    bundle = bundles["tiny"].path
    damaged = Path(shutil.copytree(bundle, tmp_path / "damaged"))
    data = bytearray((damaged / "model.bitx").read_bytes())
    data[len(data) // 2] ^= 1
    (damaged / "model.bitx").write_bytes(data)
    (tmp_path / "x.onnx").write_bytes(b"\xff" * 100)
    (tmp_path / "empty").mkdir()
    other = {
        "absent": tmp_path / "absent", "damaged": damaged, "kinds": tiny.path,
        "noise": tmp_path / "x.onnx", "folder": tmp_path / "empty",
    }[spoil]  # fmt: skip
    refused(code, names, "diff", bundle, other)
    refused(code, names, "diff", other, bundle)
