"""An op is in every room or in none: plan, exporter, reference, C runtime."""

from __future__ import annotations

import re
from pathlib import Path

from bitexport.paths import runtime_root

REPOSITORY = Path(__file__).parents[2]


def listed() -> set[str]:
    """Return the ops that ops.def gives a number."""
    text = (runtime_root() / "ops" / "ops.def").read_text(encoding="utf-8")
    return set(re.findall(r"^BITX_OP\(\d+, \w+, (\w+),", text, re.MULTILINE))


def stems(folder: Path, pattern: str) -> set[str]:
    """Return the names of the files in a room, without the ones that only hold it together."""
    return {path.stem for path in folder.glob(pattern) if not path.stem.startswith("_")}


def test_every_op_has_its_schema_in_the_exporter() -> None:
    assert stems(REPOSITORY / "exporter/bitexport/ops", "*.py") == listed()


def test_every_op_has_its_mathematics_in_the_reference() -> None:
    assert stems(REPOSITORY / "runtime_ref/bitexport_ref/ops", "*.py") == listed()


def test_every_op_has_its_code_in_the_runtime() -> None:
    assert stems(runtime_root() / "ops", "*.c") == listed()


def test_every_layout_of_the_exporter_is_in_the_format() -> None:
    text = (REPOSITORY / "targets/FORMAT.md").read_text(encoding="utf-8")
    specified = set(re.findall(r"^\*\*\d+, (\w+)\.\*\*", text, re.MULTILINE)) - {"plain"}
    assert specified
    assert specified <= stems(REPOSITORY / "exporter/bitexport/layouts", "*.py")
