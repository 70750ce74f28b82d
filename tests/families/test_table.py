"""README's table of families says what `rows.py` claims, and `test_families.py` proves that."""

from __future__ import annotations

import re
from pathlib import Path

from tests.families.rows import ROWS, table

from bitexport.models import families

README = Path(__file__).parents[2] / "README.md"
MARKED = re.compile(r"<!-- families: [^>]* -->\n(.*?)\n<!-- /families -->", re.DOTALL)


def test_readme_shows_the_table_that_the_tests_prove() -> None:
    marked = MARKED.search(README.read_text(encoding="utf-8"))
    assert marked, "README has lost the marks around its table of families"
    assert marked[1] == table(), "python -m tests.families.rows prints the table"


def test_no_row_is_claimed_twice() -> None:
    names = [row.name for row in ROWS]
    claims = [(row.published.name, row.container, row.options) for row in ROWS]
    assert len(set(names)) == len(names)
    assert len(set(claims)) == len(claims)


def test_every_family_that_can_be_built_has_a_row() -> None:
    assert {row.published.reads_as for row in ROWS} == set(families())
