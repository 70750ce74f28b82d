"""Every bug that tests/verify plants still finds its text: a moved line is seen in a second."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.verify import test_mutations, test_mutations_of_families
from tests.verify.broken_tool import Edit


def planted(found: object, name: str) -> Iterator[tuple[str, tuple[Edit, ...]]]:
    """Yield the edits that are made together, with the name of the bug or of the constant."""
    match found:
        case Edit():
            yield name, (found,)
        case Mapping():
            for key, value in found.items():
                yield from planted(value, str(key))
        case tuple() if found and all(isinstance(each, Edit) for each in found):
            yield name, found
        case tuple():
            for each in found:
                yield from planted(each, name)
        case _ if dataclasses.is_dataclass(found) and not isinstance(found, type):
            for field in dataclasses.fields(found):
                yield from planted(getattr(found, field.name), getattr(found, "name", name))


BUGS = [
    bug
    for module in (test_mutations, test_mutations_of_families)
    for name, found in vars(module).items()
    for bug in planted(found, name)
]


@pytest.mark.parametrize("edits", [edits for _, edits in BUGS], ids=[name for name, _ in BUGS])
def test_a_planted_bug_changes_each_of_its_files(
    edits: tuple[Edit, ...], repository: Path, tmp_path: Path
) -> None:
    for file in {edit.file for edit in edits}:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(repository / file, tmp_path / file)
    for edit in edits:
        edit.apply(tmp_path)
    for file in {edit.file for edit in edits}:
        assert (tmp_path / file).read_bytes() != (repository / file).read_bytes()
