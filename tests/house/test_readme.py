"""README says what the project does today: its tables are generated, its code compiles."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from bitexport.cli import main
from bitexport.paths import runtime_root
from bitexport.targets import load_targets

MARKED = re.compile(r"<!-- targets: [^>]* -->\n(.*?)\n<!-- /targets -->", re.DOTALL)
PROGRAM = """
#include "bitexport.h"
int example(const void *blob, size_t blob_bytes, void *arena, const int32_t *prompt,
            size_t prompt_count);
int example(const void *blob, size_t blob_bytes, void *arena, const int32_t *prompt,
            size_t prompt_count)
{
    int32_t next;
    %s
    return next;
}
"""


@pytest.fixture(scope="module")
def readme() -> str:
    return (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def support_table() -> str:
    lines = ["| target | instruction sets | verified on | what it is |", "|---|---|---|---|"]
    lines += [
        f"| `{t.name}` | {', '.join(t.isas)} | {', '.join(t.cores)} | {t.summary} |"
        for t in load_targets().values()
    ]
    return "\n".join(lines)


def test_the_support_table_is_that_of_the_target_files(readme: str) -> None:
    marked = MARKED.search(readme)
    assert marked, "README has lost the marks around its table of targets"
    assert marked[1] == support_table()


def test_the_c_example_compiles(readme: str, tmp_path: Path) -> None:
    code = re.search(r"```c\n(.*?)```", readme, re.DOTALL)
    assert code, "README has lost its example in C"
    source = tmp_path / "example.c"
    source.write_text(PROGRAM % code[1], encoding="utf-8")
    command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    subprocess.run([*command, f"-I{runtime_root() / 'include'}", str(source)], check=True)


@pytest.mark.parametrize(
    "command",
    ["build", "verify", "run", "package", "inspect", "diff", "targets", "doctor", "bench"],
)
def test_readme_names_every_command_and_each_explains_itself(readme: str, command: str) -> None:
    assert f"`{command}`" in readme or f"bitexport {command}" in readme
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.output.startswith("Usage:")


def test_it_opens_with_the_two_commands(readme: str) -> None:
    commands = re.findall(r"^    (make \w+)", readme, re.MULTILINE)
    assert commands[:2] == ["make demo", "make test"]
