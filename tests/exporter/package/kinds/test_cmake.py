"""The runtime in one file returns the same bits, whatever compiles it, with every kernel it has."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tiny_checkpoint import Checkpoint

from bitexport.emit.manifest import Bundle
from bitexport.models.parts.options import Options
from bitexport.package.amalgamation import CODE, HEADER, amalgamate
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.package.kind import write_package
from bitexport.paths import runtime_root
from bitexport.targets import Target, find_target, load_flags
from bitexport.toolchain.compile import ARCHIVE, Library, build_runner, undefined_symbols
from bitexport.toolchain.emulate import run

SECONDS = 300
# The whole file has to have the flags of these: no attribute says them (isa.toml).
FOR_THE_FILE = {"cortex-m55": ("-mcpu=cortex-m55",)}
TARGETS = ["arm64", "armv7", "cortex-m4", "cortex-m55"]


@pytest.fixture(scope="module")
def bundle_of(
    tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Bundle]:
    """Return a function that builds a bundle without a library."""

    def build(name: str) -> Bundle:
        folder = tmp_path_factory.mktemp("source") / name
        source_only = Wanted(compile_library=False)
        return build_bundle(tiny.path, find_target(name), Options(), folder, source_only)

    return build


def compiled(target: Target, package: Path, compiler: str) -> str:
    """Compile the file with the flags of CMakeLists.txt and all warnings; return those."""
    flags = load_flags()
    command = [
        *(compiler, *flags.always, *flags.library, *target.flags, *flags.warnings),
        *(*FOR_THE_FILE.get(target.name, ()), "-c", CODE, "-o", "bitexport.o"),
    ]
    done = subprocess.run(
        command, cwd=package, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("name", TARGETS)
def test_every_kernel_of_the_one_file_is_there_and_right(
    name: str, bundle_of: Callable[[str], Bundle], output: Path, tmp_path: Path
) -> None:
    target, bundle = find_target(name), bundle_of(name)
    write_package("cmake", [bundle], output)
    assert compiled(target, output, target.compiler) == ""
    archive = tmp_path / ARCHIVE
    subprocess.run([target.archiver, "crsD", archive, output / "bitexport.o"], check=True)
    allowed = {"memcmp", "memcpy", "memmove", "memset", "getauxval"}
    assert undefined_symbols(target, archive) <= allowed
    if target.os == "linux":  # the runner maps files and starts threads
        flags = [*load_flags().always, *target.flags, "-I.", "-pthread", "-c"]
        for extra in ("bitx_map", "bitx_threads"):
            built = [f"extras/{extra}.c", "-o", f"{extra}.o"]
            subprocess.run([target.compiler, *flags, *built], cwd=output, check=True)
            subprocess.run([target.archiver, "rsD", archive, f"{output}/{extra}.o"], check=True)
    library = Library(target=target, archive=archive, shared=None)
    program = build_runner(target, library, bundle.path, tmp_path / "runner")
    core = list(target.cores)[-1]
    said = run(target, core, program, [str(bundle.data), "--self-test"], timeout=SECONDS).stdout
    assert f"available {' '.join(target.cores[core])}\n" in said
    assert said.endswith("\nend\n")


def self_test_of(package: Path, folder: Path, compiler: str) -> subprocess.CompletedProcess[str]:
    """Build a package with its own CMakeLists.txt, warnings being errors; run its self-test."""
    warn = " ".join(("-Werror", *load_flags().warnings))
    for words in (
        ["-S", package, "-B", folder, f"-DCMAKE_C_COMPILER={compiler}", f"-DCMAKE_C_FLAGS={warn}"],
        ["--build", folder],
    ):
        done = subprocess.run(
            ["cmake", *words], capture_output=True, text=True, check=False, timeout=SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr
    command = [folder / "self_test", package / "model.bitx"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_clang_returns_the_same_bits(host_bundle: Bundle, output: Path, tmp_path: Path) -> None:
    write_package("cmake", [host_bundle], output)
    done = self_test_of(output, tmp_path / "build", "clang")
    assert done.returncode == 0
    isas = find_target("host").expected_isas("native")
    assert [line.partition(": equal, ")[0] for line in done.stdout.splitlines()] == list(isas)


def test_a_wrong_sum_is_seen(host_bundle: Bundle, output: Path, tmp_path: Path) -> None:
    write_package("cmake", [host_bundle], output)
    code, right = (output / CODE).read_text("utf-8"), "y[i] = a[i] + b[i])"
    assert code.count(right) == 1
    wrong = code.replace(right, "y[i] = a[i] + b[i] + 0x1p-12f)")
    (output / CODE).write_text(wrong, encoding="utf-8")
    lists = output / "CMakeLists.txt"
    lists.write_text(lists.read_text("utf-8").replace("-O2", "-O0"), encoding="utf-8")
    done = self_test_of(output, tmp_path / "build", "gcc")
    assert done.returncode == 1
    assert "computed other bits" in done.stdout


def test_a_board_keeps_the_code_of_its_model(device_macros: str) -> None:
    assert "#ifndef BITX_OPS\n#define BITX_OPS 0x" in device_macros


@pytest.fixture
def device_macros(bundle_of: Callable[[str], Bundle], output: Path) -> str:
    """Return the one file of a board."""
    write_package("cmake", [bundle_of("cortex-m4")], output)
    assert not (output / "extras").exists()
    return (output / CODE).read_text("utf-8")


def test_nothing_of_the_source_is_lost() -> None:
    """Every function that has linkage is in the file once."""
    texts = amalgamate(find_target("arm64"), runtime_root())
    assert '#include "bitexport' not in texts[HEADER]
    assert texts[CODE].count('#include "') == 1
    for name in ("bitx_session_open", "bitx_encode", "bitx_generator_next"):
        assert name in texts[HEADER]
        assert texts[CODE].count(f"\nbitx_status {name}(") == 1, name
