"""`bitexport doctor` says what is missing, and the exact line that installs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bitexport.cli import main
from bitexport.targets import Target


def said(*words: str) -> Result:
    """Return what `bitexport doctor` answers to these words."""
    return CliRunner().invoke(main, ["doctor", *words])


def test_this_machine_has_all_that_a_target_needs(target: Target) -> None:
    result = said("--target", target.name)
    assert result.exit_code == 0, result.output
    assert target.compiler in result.stdout


def test_a_missing_compiler_is_named_with_the_line_to_type(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = said("--target", "arm64")
    assert result.exit_code == 5
    assert "missing: `aarch64-linux-gnu-gcc`" in result.stderr
    line = "apt-get install -y --no-install-recommends gcc-aarch64-linux-gnu"
    assert line in result.stderr
    assert "qemu-user" in result.stderr


def test_without_a_target_nothing_missing_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = said()
    assert result.exit_code == 0
    assert "missing" in result.stdout


def test_json_holds_findings_and_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    facts = json.loads(said("--json").stdout)
    lost = {each["thing"] for each in facts["findings"] if each["found"] is None}
    assert {"gcc", "qemu-aarch64", "qemu-system-arm"} <= lost
    assert "qemu-system-arm" in facts["install"][0]
