"""README's examples of generation do what they say, and both the same."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.generate.conftest import Build

from bitexport.emit.manifest import Bundle
from bitexport.paths import runtime_root
from bitexport.targets import find_target
from bitexport.toolchain.compile import Library

PROGRAM = """
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "bitexport_generate.h"

static _Alignas(64) unsigned char arena[1 << 24], memory[1 << 20], work[1 << 16];
static int32_t tokens[1 << 12];

static void show(const char *text, size_t bytes)
{
    fwrite(text, 1, bytes, stdout);
}

int main(int words, char **word)
{
    struct stat file;
    const int opened = words == 2 ? open(word[1], O_RDONLY) : -1;
    if (opened < 0 || fstat(opened, &file)) return 2;
    const size_t blob_bytes = (size_t)file.st_size;
    const void *blob = mmap(NULL, blob_bytes, PROT_READ, MAP_PRIVATE, opened, 0);
    const int32_t prompt[] = {1};
    const size_t prompt_count = 1;
    int32_t next;
    %s
    (void)next;
    bitx_session_reset(session);
    %s
    return 0;
}
"""


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    """Return the text of README.md."""
    return (repository / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def bundle(stories: Build) -> Bundle:
    """Return the story model for this machine."""
    return stories(find_target("host"))


@pytest.fixture(scope="module")
def python_says(readme: str, bundle: Bundle) -> str:
    """Return what the example in Python prints."""
    examples = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (code,) = (each for each in examples if "open_model(" in each)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code.replace('"out/stories"', repr(str(bundle.path))), {})
    return printed.getvalue()


def test_the_example_in_python_tells_a_story(python_says: str) -> None:
    assert python_says.startswith(", there was")
    assert len(python_says) > 150


def test_the_examples_in_c_tell_the_same_story(
    readme: str, bundle: Bundle, python_says: str, libraries: Callable[..., Library], tmp_path: Path
) -> None:
    first, second = re.findall(r"```c\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "example.c").write_text(PROGRAM % (first, second), encoding="utf-8")
    library = libraries(find_target("host"))
    flags = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror"]
    command = ["gcc", *flags, f"-I{runtime_root() / 'include'}", "example.c", library.archive]
    subprocess.run([*command, "-pthread", "-o", "example"], cwd=tmp_path, check=True)
    command = [tmp_path / "example", bundle.data]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    assert said.stdout == python_says
