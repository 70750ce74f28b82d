"""What CMake is told is what our own compiler runs were told."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from bitexport.targets import Target, find_target
from bitexport.toolchain.cmake import cmake_lists
from bitexport.toolchain.compile import defines, sources

PROJECT = """
cmake_minimum_required(VERSION 3.16)
project(tiny C)
include(sources.cmake)
add_library(tiny STATIC ${BITX_SOURCES})
foreach(isa IN LISTS BITX_ISAS)
  target_sources(tiny PRIVATE ${BITX_${isa}_SOURCES})
  set_source_files_properties(${BITX_${isa}_SOURCES}
    PROPERTIES COMPILE_OPTIONS "${BITX_${isa}_FLAGS}")
endforeach()
target_compile_options(tiny PRIVATE ${BITX_FLAGS})
target_compile_definitions(tiny PRIVATE ${BITX_DEFINES})
target_include_directories(tiny PRIVATE ${BITX_INCLUDES})
"""


def lists(text: str) -> dict[str, list[str]]:
    """Return the lists that a sources.cmake sets."""
    return {name: words.split() for name, words in re.findall(r"set\((\w+)([^)]*)\)", text)}


def test_every_file_is_in_one_list(target: Target, runtime: Path) -> None:
    said = lists(cmake_lists(target, runtime))
    named = [word for name, words in said.items() if name.endswith("_SOURCES") for word in words]
    assert sorted(named) == sorted(str(each.path) for each in sources(target, runtime))
    assert said["BITX_DEFINES"] == list(defines(target))


def test_flags_of_an_instruction_set_stay_with_its_files(runtime: Path) -> None:
    said = lists(cmake_lists(find_target("arm64"), runtime))
    assert said["BITX_ISAS"] == ["NEON", "DOTPROD", "I8MM"]
    assert said["BITX_DOTPROD_SOURCES"] == ["kernels/dot/dot_dotprod.c"]
    assert said["BITX_DOTPROD_FLAGS"] == ["-march=armv8.2-a+dotprod"]
    assert "-ffp-contract=off" in said["BITX_FLAGS"]


def test_cmake_builds_what_the_lists_say(runtime: Path, tmp_path: Path) -> None:
    target = find_target("arm64")
    cmake = shutil.which("cmake")
    assert cmake, "cmake is not installed: apt-get install cmake"
    (runtime / "CMakeLists.txt").write_text(PROJECT, encoding="utf-8")
    (runtime / "sources.cmake").write_text(cmake_lists(target, runtime), encoding="utf-8")
    cross = ["-DCMAKE_SYSTEM_NAME=Linux", f"-DCMAKE_C_COMPILER={target.compiler}"]
    for words in (
        ["-S", str(runtime), "-B", str(tmp_path / "b"), *cross],
        ["--build", tmp_path / "b"],
    ):
        done = subprocess.run([cmake, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "b" / "libtiny.a").is_file()
