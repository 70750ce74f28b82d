"""The command line refuses with a sentence, a hint and a status of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from bitexport import __version__
from bitexport.cli import main
from bitexport.errors import (
    BitexportError,
    CheckpointError,
    MismatchError,
    TargetError,
    ToolchainError,
)
from bitexport.targets import load_targets


def said(*words: str) -> Result:
    """Return what `bitexport` answers to these words."""
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (BitexportError, 1),
        (TargetError, 2),
        (CheckpointError, 3),
        (MismatchError, 4),
        (ToolchainError, 5),
    ],
)
def test_each_kind_of_failure_has_its_status(kind: type[BitexportError], status: int) -> None:
    assert kind.exit_code == status


def test_a_refusal_is_a_sentence_and_a_hint() -> None:
    result = said("doctor", "--target", "amr64")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: there is no target `amr64`\n\nhint: did you mean")


@pytest.mark.parametrize("words", [["tragets"], ["targets", "--jsno"], ["targets", "extra"]])
def test_a_word_it_does_not_know_is_a_usage_error(words: list[str]) -> None:
    assert said(*words).exit_code == 64


def test_help_names_every_command() -> None:
    result = said("--help")
    assert result.exit_code == 0
    assert "doctor" in result.stdout
    assert "targets" in result.stdout


def test_the_version_is_the_packages() -> None:
    assert said("--version").stdout.split()[-1] == __version__


def test_targets_lists_every_target_and_core() -> None:
    table = said("targets").stdout
    for target in load_targets().values():
        assert all(word in table for word in (target.name, target.triple, *target.cores))


def test_targets_as_json_says_what_the_files_say() -> None:
    facts = json.loads(said("targets", "--json").stdout)
    assert [each["name"] for each in facts] == list(load_targets())
    assert facts[0]["cores"]["cortex-a53"] == ["scalar", "neon"]


def test_the_module_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "bitexport", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"bitexport, version {__version__}\n"
