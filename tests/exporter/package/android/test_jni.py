"""The hand-written slice of JNI is JNI's; class Native and the library name the same functions."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from bitexport.package.android.library import android_root
from bitexport.paths import runtime_root
from bitexport.toolchain.compile import EXTRAS

SLICE = android_root() / "jni" / "jni_slice.h"


def jdk_include() -> Path:
    compiler = shutil.which("javac")
    assert compiler, "`javac` is not installed: apt-get install default-jdk-headless"
    return Path(compiler).resolve().parents[1] / "include"


def size_and_places(header: str, table: str, folders: list[Path], folder: Path) -> list[int]:
    """Return what a compiler says of a table of functions, the place of each."""
    names = re.findall(r"\(\*(\w+)\)\(JNIEnv", SLICE.read_text(encoding="utf-8"))
    assert len(names) == 9
    lines = [
        f'#include "{header}"',
        "#include <stddef.h>",
        "#include <stdio.h>",
        "int main(void) {",
    ]
    lines += [f'printf("%zu\\n", offsetof(struct {table}, {name}));' for name in names]
    source, program = folder / f"{table}.c", folder / table
    source.write_text("\n".join([*lines, "return 0; }\n"]), encoding="utf-8")
    command = ["gcc", *(f"-I{each}" for each in folders), str(source), "-o", str(program)]
    subprocess.run(command, check=True)
    said = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    return [int(line) for line in said.split()]


def test_every_function_of_the_slice_lies_where_jni_has_it(tmp_path: Path) -> None:
    include = jdk_include()
    ours = size_and_places(str(SLICE), "jni_functions", [], tmp_path)
    theirs = size_and_places("jni.h", "JNINativeInterface_", [include, include / "linux"], tmp_path)
    assert ours == theirs


def test_the_library_has_every_native_method_and_no_other(
    android_library: Callable[[str], Path],
) -> None:
    java = (android_root() / "java/ai/bitexport/Native.java").read_text(encoding="utf-8")
    methods = re.findall(r"static native [\w\[\]]+ (\w+)\(", java)
    said = subprocess.run(
        ["nm", "-D", "--defined-only", str(android_library("x86_64"))],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    names = {line.split()[-1] for line in said.splitlines()}
    natives = {name for name in names if name.startswith("Java_")}
    assert natives == {f"Java_ai_bitexport_Native_{name}" for name in methods}
    assert names - natives == {"JNI_OnLoad", *declared_functions()}


def declared_functions() -> set[str]:
    """Return what the headers declare that an AAR holds."""
    headers = [path for name in ("include", EXTRAS) for path in (runtime_root() / name).glob("*.h")]
    texts = (re.sub(r"/\*.*?\*/", "", path.read_text("utf-8"), flags=re.DOTALL) for path in headers)
    lines = re.compile(r"^\w[\w *]*?\b(bitx_\w+)\(", re.MULTILINE)
    return {name for text in texts for name in lines.findall(text)}


def test_numbers_that_java_repeats_are_those_of_the_headers() -> None:
    java = "".join(
        path.read_text(encoding="utf-8") for path in (android_root() / "java").rglob("*.java")
    )
    headers = "".join(
        path.read_text(encoding="utf-8") for path in (runtime_root() / "include").glob("*.h")
    )
    repeated = re.findall(r"= (-?\d+); // (BITX_\w+)", java)
    assert len(repeated) == 7
    for value, name in repeated:
        (said,) = set(re.findall(rf"\b{name}(?: =)? (-?\d\w*)\b", headers))
        assert int(said.removesuffix("u"), 0) & 0xFFFFFFFF == int(value) & 0xFFFFFFFF, name
