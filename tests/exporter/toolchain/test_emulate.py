"""A program runs on the core that was asked for, and its end is told as it was."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bitexport.errors import RunError, TargetError, ToolchainError
from bitexport.targets import Target, find_target
from bitexport.toolchain.emulate import command_line, run
from bitexport.toolchain.programs import find_program

HELLO = """
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
extern char **environ;
int main(int count, char **words)
{
    const char *said = count > 1 ? words[1] : "";
    if (*said == 'x') {
        fprintf(stderr, "no more\\n");
        return 7;
    }
    if (*said == 'a') abort();
    if (*said == 'w') {
        puts("waiting");
        fflush(stdout);
        sleep(60);
    }
    for (int i = 1; i < count; i++) puts(words[i]);
    printf("%s %d\\n", *environ ? "environment" : "bare", getchar());
    return 0;
}
"""
SDOT = """
int main(void)
{
    __asm__ volatile(".arch armv8.2-a+dotprod\\n sdot v0.4s, v1.16b, v2.16b");
    return 0;
}
"""


def compiled(target: Target, folder: Path, text: str) -> Path:
    """Return a program made of one file."""
    (folder / "hello.c").write_text(text, encoding="utf-8")
    command = [find_program(target.compiler, target), *target.flags, *target.link]
    subprocess.run([*command, "hello.c", "-o", "hello"], cwd=folder, check=True)
    return folder / "hello"


@pytest.fixture(params=["arm64", "armv7", "host"])
def place(request: pytest.FixtureRequest) -> tuple[Target, str]:
    """Return a target with an operating system, and its first core."""
    target = find_target(request.param)
    return target, next(iter(target.cores))


def test_arguments_arrive_and_nothing_else_does(place: tuple[Target, str], tmp_path: Path) -> None:
    program = compiled(place[0], tmp_path, HELLO)
    done = run(*place, program, ["Once upon", "{core}", "a,b"], timeout=20)
    assert done.stdout == "Once upon\n{core}\na,b\nbare -1\n"


def test_an_exit_status_is_told_with_core_and_words(
    place: tuple[Target, str], tmp_path: Path
) -> None:
    program = compiled(place[0], tmp_path, HELLO)
    with pytest.raises(RunError, match=f"core {place[1]}, ended with status 7\nno more") as caught:
        run(*place, program, ["x"], timeout=20)
    assert caught.value.completed.returncode == 7


def test_a_signal_is_told_by_its_name(place: tuple[Target, str], tmp_path: Path) -> None:
    program = compiled(place[0], tmp_path, HELLO)
    with pytest.raises(RunError, match="was stopped by SIGABRT"):
        run(*place, program, ["a"], timeout=20)


def test_there_is_always_an_end(place: tuple[Target, str], tmp_path: Path) -> None:
    program = compiled(place[0], tmp_path, HELLO)
    with pytest.raises(RunError, match="did not end within 2 seconds\nwaiting"):
        run(*place, program, ["w"], timeout=2)


def test_an_older_core_lacks_what_a_newer_one_has(tmp_path: Path) -> None:
    target = find_target("arm64")
    program = compiled(target, tmp_path, SDOT)
    assert run(target, "cortex-a76", program, timeout=20).returncode == 0
    with pytest.raises(RunError, match="core cortex-a53, was stopped by SIGILL"):
        run(target, "cortex-a53", program, timeout=20)


def test_an_unknown_core_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no core `cortex-a55`"):
        run(find_target("arm64"), "cortex-a55", tmp_path / "hello")


def test_words_for_bare_metal_travel_by_semihosting(tmp_path: Path) -> None:
    words = command_line(
        find_target("cortex-m4"), "mps2-an386", tmp_path / "hello", ["--prompt", "1,2"]
    )
    assert words[0].endswith("/qemu-system-arm")
    assert "enable=on,target=native,arg=hello,arg=--prompt,arg=1,,2" in words
    assert words[-2:] == ["-kernel", str(tmp_path / "hello")]


def test_a_missing_emulator_is_named_with_the_line_to_type(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="`qemu-aarch64` is not installed") as caught:
        run(find_target("arm64"), "cortex-a53", tmp_path / "hello")
    assert "qemu-user" in str(caught.value.hint)
