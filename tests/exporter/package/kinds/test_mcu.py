"""The project of a board builds, runs under QEMU as planned, and is a module for Zephyr."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.exporter.toolchain.emulated_board import emulated_board

from bitexport.cli import main
from bitexport.emit.manifest import Bundle
from bitexport.errors import BitexportError, TargetError
from bitexport.package.kind import write_package
from bitexport.package.kinds.mcu import STACK_BYTES
from bitexport.paths import packages_root
from bitexport.targets import find_target

BundleFor = Callable[[str], Bundle]

BOARDS = ["cortex-m4", "cortex-m55"]
SECONDS = 300
PLANNED = re.compile(r"(arena|stack) (\d+) of (\d+) bytes planned")
# What the module calls of Zephyr, as Zephyr's documentation of `zephyr_library` says.
ZEPHYR = """
cmake_minimum_required(VERSION 3.16)
project(zephyr_application C ASM)
set(CONFIG_BITEXPORT {config})
add_compile_options({flags})
macro(zephyr_library_named name)
    set(ZEPHYR_CURRENT_LIBRARY ${{name}})
    add_library(${{name}} STATIC)
endmacro()
function(zephyr_include_directories)
    include_directories(${{ARGN}})
endfunction()
function(zephyr_library_include_directories)
    target_include_directories(${{ZEPHYR_CURRENT_LIBRARY}} PRIVATE ${{ARGN}})
endfunction()
function(zephyr_library_compile_options)
    target_compile_options(${{ZEPHYR_CURRENT_LIBRARY}} PRIVATE ${{ARGN}})
endfunction()
function(zephyr_library_compile_definitions)
    target_compile_definitions(${{ZEPHYR_CURRENT_LIBRARY}} PRIVATE ${{ARGN}})
endfunction()
function(zephyr_library_sources)
    target_sources(${{ZEPHYR_CURRENT_LIBRARY}} PRIVATE ${{ARGN}})
endfunction()
add_subdirectory({package}/zephyr module)
"""


def told(*words: object) -> subprocess.CompletedProcess[str]:
    """Return what a program says and how it ends."""
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, timeout=SECONDS
    )


@pytest.mark.parametrize("name", BOARDS)
def test_both_programs_run_on_the_emulated_board_as_planned(
    name: str, bundle_for: BundleFor, output: Path, tmp_path: Path
) -> None:
    write_package("mcu", [bundle_for(name)], output)
    there = tmp_path / "build"
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={output}/toolchain.cmake"
    warn = "-DCMAKE_C_FLAGS=-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"
    configured = told("cmake", "-S", output, "-B", there, toolchain, warn)
    assert configured.returncode == 0, configured.stderr
    assert "-- flash " in configured.stdout
    built = told("cmake", "--build", there, "--parallel")
    assert built.returncode == 0, built.stdout + built.stderr
    tested = told("ctest", "--test-dir", there, "--verbose")
    assert tested.returncode == 0, tested.stdout
    assert "self-test equal, 24 positions" in tested.stdout
    measured = {kind: (int(used), int(of)) for kind, used, of in PLANNED.findall(tested.stdout)}
    arena, planned = measured["arena"]
    assert 0.99 * planned <= arena <= planned
    stack, planned = measured["stack"]
    assert STACK_BYTES / 2 < stack <= planned == STACK_BYTES
    with emulated_board(find_target(name), there / "on_serial.elf") as port:
        words = ["verify", str(bundle_for(name).path), "--on", f"serial:{port}", "--core", name]
        said = CliRunner().invoke(main, [*words, "--ids", "1,5", "-n", "1", "--quick"])
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith(f"{name:12} equal  ")


def test_cmake_refuses_a_part_that_is_too_small(bundle_for: BundleFor, output: Path) -> None:
    write_package("mcu", [bundle_for("cortex-m4")], output)
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={output}/toolchain.cmake"
    for kind in ("FLASH", "RAM"):
        done = told("cmake", "-S", output, "-B", output / kind, toolchain, f"-DBITX_{kind}_BYTES=9")
        assert done.returncode != 0
        assert f"bytes of {kind.lower()}, the part has 9" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("limits", "named"),
    [({"flash": 65536}, "of flash, the part has 65536"), ({"ram": 20480}, "of RAM, the part has")],
)
def test_a_part_that_is_too_small_is_refused_before_anything_is_written(
    limits: dict[str, int], named: str, bundle_for: BundleFor, output: Path
) -> None:
    with pytest.raises(TargetError, match=named) as caught:
        write_package("mcu", [bundle_for("cortex-m4")], output, limits=limits)
    assert "--context" in str(caught.value.hint)
    assert not output.exists()


def test_a_small_part_gets_smaller_chunks(bundle_for: BundleFor, output: Path) -> None:
    bundle = bundle_for("cortex-m4")
    memory = bundle.manifest["memory"]
    ram = memory["arena_bytes_1_rows"] + STACK_BYTES
    assert ram < memory["arena_bytes_16_rows"]
    write_package("mcu", [bundle], output, limits={"ram": ram})
    text = (output / "memory.cmake").read_text("utf-8")
    assert "set(BITX_CHUNK_ROWS 1)" in text
    assert f'set(BITX_RAM_BYTES {ram} CACHE STRING "' in text


def test_a_target_with_an_operating_system_is_refused(host_bundle: Bundle, output: Path) -> None:
    with pytest.raises(BitexportError, match="has an operating system"):
        write_package("mcu", [host_bundle], output)
    assert not output.exists()


@pytest.mark.parametrize("config", ["y", "n"])
def test_zephyr_compiles_the_same_files_with_the_flags_of_the_contract(
    config: str, bundle_for: BundleFor, output: Path, tmp_path: Path
) -> None:
    """No Zephyr is here: its functions are stood in for; files and flags are the module's."""
    write_package("mcu", [bundle_for("cortex-m4")], output)
    (tmp_path / "CMakeLists.txt").write_text(
        ZEPHYR.format(
            config=config, package=output, flags="-mcpu=cortex-m4 -mthumb -mfloat-abi=hard"
        ),
        encoding="utf-8",
    )
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={output}/toolchain.cmake"
    there, faster = tmp_path / "build", tmp_path / "faster"
    faster.write_text('#!/bin/sh\nexec "$@" -O0\n', encoding="utf-8")  # behind the flags
    faster.chmod(0o755)
    done = told("cmake", "-S", tmp_path, "-B", there, toolchain,
                f"-DCMAKE_C_COMPILER_LAUNCHER={faster}",
                "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON")  # fmt: skip
    assert done.returncode == 0, done.stderr
    listed = there / "compile_commands.json"  # not there where nothing is compiled
    commands = listed.read_text("utf-8") if listed.exists() else ""
    assert ("-ffp-contract=off" in commands) == (config == "y")
    if config == "y":
        for file in output.glob("runtime/**/*.c"):
            assert f'"file": "{file}"' in commands
        built = told("cmake", "--build", there, "--parallel")
        assert built.returncode == 0, built.stdout + built.stderr
        names = told("arm-none-eabi-nm", there / "module" / "libbitexport.a").stdout
        assert re.search(r"\bR bitx_model_start\n", names)
        assert re.search(r"\bT bitx_session_open\n", names)


def test_the_module_is_where_zephyr_looks_for_it(bundle_for: BundleFor, output: Path) -> None:
    write_package("mcu", [bundle_for("cortex-m55")], output)
    text = (output / "zephyr" / "module.yml").read_text("utf-8")
    assert text == (packages_root() / "mcu/zephyr/module.yml").read_text("utf-8")
    for key in ("cmake: zephyr", "kconfig: zephyr/Kconfig"):
        assert key in text
    assert "depends on CPU_CORTEX_M55\n" in (output / "zephyr/Kconfig").read_text("utf-8")
