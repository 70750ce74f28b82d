"""A copy of the whole tool that a test may break, and the commands that it then runs."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOMS = ("exporter", "runtime_ref", "targets")
SECONDS = 240
MISMATCH = 4
"""What `build` and `verify` exit with when two readers, or two runs, do not agree."""


@dataclasses.dataclass(frozen=True)
class Edit:
    """One change of a text that occurs exactly once in a file."""

    file: str
    old: str
    new: str

    def apply(self, tree: Path) -> None:
        """Change the copy; a text that moved on must not leave a mutation that changes nothing."""
        path = tree / self.file
        text = path.read_text(encoding="utf-8")
        assert text.count(self.old) == 1, (
            f"{self.file} holds this {text.count(self.old)} times, not once; "
            f"write the mutation again:\n{self.old}"
        )
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
            compiled.unlink()


@dataclasses.dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @functools.cached_property
    def report(self) -> dict[str, Any]:
        """What `verify --json` printed, its cores by name."""
        report: dict[str, Any] = json.loads(self.out)
        return report | {"cores": {core["core"]: core for core in report["cores"]}}


@dataclasses.dataclass(frozen=True)
class Tree:
    """A copy of the tool, and the bundle that it built."""

    root: Path
    built: Done

    @property
    def bundle(self) -> Path:
        """The bundle, if the build did not fail."""
        return self.root / "bundle"

    def command(self, *words: str) -> Done:
        """Run this copy's `bitexport`; it finds nothing but the copy."""
        done = subprocess.run(
            [sys.executable, "-m", "bitexport", *words],
            cwd=self.root,
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(str(self.root / room) for room in ROOMS[:2])},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def verify(self, *cores: str, prompt: str) -> Done:
        """Verify the bundle on some cores."""
        chosen = [word for core in cores for word in ("--core", core)]
        return self.command(
            "verify", "bundle", *chosen, "--prompt", prompt, "--tokens", "4", "--json"
        )


def copy_tool(repository: Path, root: Path, edits: Sequence[Edit]) -> Tree:
    """Copy every room that a build or a verification needs, and edit the copy."""
    for room in ROOMS:
        shutil.copytree(repository / room, root / room)
    for edit in edits:
        edit.apply(root)
    return Tree(root, Done(0, "", ""))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wrong:
    """A bug that makes bits differ, and where they must be found to differ first."""

    name: str
    edits: tuple[Edit, ...]
    op: str
    output: str
    position: int = 0
    way: str = "op by op, chunks of 9, 1 thread"
    target: str = "host"
    core: str = "native"
    equal: tuple[str, ...] = ()
    sample: str = ""
    """The model that has the op, a folder of samples/families; else the random checkpoint."""
    options: tuple[str, ...] = ()
    prompt: str = ""
    """If it is not the file's; of as many tokens."""


def assert_named(tree: Tree, bug: Wrong, prompt: str) -> None:
    """Verify a broken tree: the op is named, and a file brings the difference back."""
    assert tree.built.code == 0, tree.built.err
    done = tree.verify(*bug.equal, bug.core, prompt=bug.prompt or prompt)
    assert done.code == MISMATCH, done.out + done.err
    for core in bug.equal:
        assert done.report["cores"][core]["passed"]
    found = done.report["cores"][bug.core]
    seen = found["explanation"]
    assert not found["passed"]
    assert seen, done.err
    place = [seen[key] for key in ("op_type", "name", "position", "way")]
    assert place == [bug.op, bug.output, bug.position, bug.way], place

    first = f"first difference on {bug.core} ({bug.way}): position {bug.position}, "
    assert first in done.err
    assert f"first at index {seen['index']}" in done.err
    assert seen["expected_hex"] != seen["observed_hex"]
    assert seen["ulp"] > 0

    printed = done.err.partition("replay with: ")[2].partition("\n")[0]
    name, *words = shlex.split(printed)
    assert (name, words) == (
        "bitexport", ["verify", str(tree.bundle), "--replay", seen["replay"]],
    )  # fmt: skip
    again = tree.command(*words)
    assert again.code == MISMATCH
    assert first in again.err
    assert f"reference {seen['expected']} ({seen['expected_hex']})" in again.err
    assert f"device {seen['observed']} ({seen['observed_hex']})" in said(again.err)


def said(text: str) -> str:
    """Return a text with its white space made single spaces, to look for sentences in it."""
    return re.sub(r"\s+", " ", text)
