"""The runtime in one file returns the same bits, whatever compiles it, with every kernel it has."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tiny_checkpoint import Checkpoint

from bitexport.emit.manifest import DATA, Bundle
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
# One is compiled as it ships.  The bits of the others do not depend on the optimiser either, which
# tests/kernels prove file by file; -O1 takes half of the time.
AS_SHIPPED = "arm64"
TARGETS = [AS_SHIPPED, "armv7", "cortex-m4", "cortex-m55"]
# The oldest clang that takes the attributes of arm64 is 16; Debian's and Ubuntu's releases have 19.
CLANG_FOR_ARM = "clang-19"

Packages = Callable[[str], tuple[Bundle, Path]]


@pytest.fixture(scope="module")
def packages(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Return a function that gives a bundle without a library and its package, to be read."""
    made: dict[str, tuple[Bundle, Path]] = {}

    def make(name: str) -> tuple[Bundle, Path]:
        if name not in made:
            folder = tmp_path_factory.mktemp("source")
            source_only = Wanted(compile_library=False)
            bundle = build_bundle(
                tiny.path, find_target(name), Options(), folder / "out", source_only
            )
            write_package("cmake", [bundle], folder / "package")
            made[name] = bundle, folder / "package"
        return made[name]

    return make


def told(*words: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program that has to end well."""
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, capture_output=True, text=True, check=False,
        timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def compiled(target: Target, package: Path, output: Path, compiler: str, *more: str) -> str:
    """Compile the file with the flags of CMakeLists.txt and all warnings; return those."""
    flags = load_flags()
    faster = () if target.name == AS_SHIPPED and not more else ("-O1",)
    words = [*flags.always, *flags.library, *target.flags, *flags.warnings, *faster, *more]
    words += [*FOR_THE_FILE.get(target.name, ()), "-c", CODE, "-o", str(output)]
    return told(compiler, *words, folder=package).stderr


@pytest.mark.parametrize("name", TARGETS)
def test_every_kernel_of_the_one_file_is_there_and_right(
    name: str, packages: Packages, tmp_path: Path
) -> None:
    target, (bundle, package) = find_target(name), packages(name)
    assert compiled(target, package, tmp_path / "bitexport.o", target.compiler) == ""
    archive = tmp_path / ARCHIVE
    told(target.archiver, "crsD", archive, tmp_path / "bitexport.o")
    allowed = {"memcmp", "memcpy", "memmove", "memset", "getauxval"}
    assert undefined_symbols(target, archive) <= allowed
    if target.os == "linux":  # the runner maps files and starts threads
        flags = [*load_flags().always, *target.flags, "-I.", "-pthread", "-c"]
        for extra in ("bitx_map", "bitx_threads"):
            built = tmp_path / f"{extra}.o"
            told(target.compiler, *flags, f"extras/{extra}.c", "-o", built, folder=package)
            told(target.archiver, "rsD", archive, built)
    library = Library(target=target, archive=archive, shared=None)
    program = build_runner(target, library, bundle.path, tmp_path / "runner")
    core = list(target.cores)[-1]
    said = run(target, core, program, [str(bundle.data), "--self-test"], timeout=SECONDS).stdout
    assert f"available {' '.join(target.cores[core])}\n" in said
    assert said.endswith("\nend\n")


def isas_that_are_equal(said: str) -> list[str]:
    """Return the instruction sets that self_test_program.c found equal to the reference."""
    return [line.partition(": equal, ")[0] for line in said.splitlines()]


def test_clang_returns_the_same_bits_on_every_core_of_arm(
    packages: Packages, tmp_path: Path
) -> None:
    target, (_, package) = find_target("arm64"), packages("arm64")
    assert shutil.which(CLANG_FOR_ARM), f"`apt-get install {CLANG_FOR_ARM}`"
    words = ["--target=aarch64-linux-gnu", "-isystem", "/usr/aarch64-linux-gnu/include",
             "-Wno-unused-command-line-argument"]  # fmt: skip
    built = tmp_path / "bitexport.o"
    assert compiled(target, package, built, CLANG_FOR_ARM, *words) == ""
    program = tmp_path / "self_test"
    told(target.compiler, "-static", "-I.", "self_test_program.c", built, "-o", program,
         folder=package)  # fmt: skip
    for core, isas in target.cores.items():
        said = run(target, core, program, [str(package / DATA)], timeout=SECONDS).stdout
        assert isas_that_are_equal(said) == list(isas)


def test_clang_returns_the_same_bits(packages: Packages, tmp_path: Path) -> None:
    """The package's own CMakeLists.txt builds it; a warning is an error."""
    _, package = packages("host")
    warn = " ".join(("-Werror", *load_flags().warnings))
    told("cmake", "-S", package, "-B", tmp_path, "-DCMAKE_C_COMPILER=clang",
         f"-DCMAKE_C_FLAGS={warn}")  # fmt: skip
    told("cmake", "--build", tmp_path)
    said = told(tmp_path / "self_test", package / DATA).stdout
    assert isas_that_are_equal(said) == list(find_target("host").expected_isas("native"))


def test_a_wrong_sum_is_seen(packages: Packages, tmp_path: Path) -> None:
    target, (_, package) = find_target("host"), packages("host")
    code, right = (package / CODE).read_text("utf-8"), "y[i] = a[i] + b[i])"
    assert code.count(right) == 1
    wrong = code.replace(right, "y[i] = a[i] + b[i] + 0x1p-12f)")
    (tmp_path / CODE).write_text(wrong, encoding="utf-8")
    program = tmp_path / "self_test"
    words = [*load_flags().always, *target.flags, "-O0", f"-I{package}", tmp_path / CODE]
    told(target.compiler, *words, package / "self_test_program.c", "-o", program)
    done = subprocess.run(
        [program, package / DATA], capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 1
    assert "computed other bits" in done.stdout


def test_a_board_keeps_the_code_of_its_model(packages: Packages) -> None:
    _, package = packages("cortex-m4")
    assert not (package / "extras").exists()
    assert "#ifndef BITX_OPS\n#define BITX_OPS 0x" in (package / CODE).read_text("utf-8")


def test_nothing_of_the_source_is_lost() -> None:
    """Every function that has linkage is in the file once."""
    texts = amalgamate(find_target("arm64"), runtime_root())
    assert '#include "bitexport' not in texts[HEADER]
    assert texts[CODE].count('#include "') == 1
    for name in ("bitx_session_open", "bitx_encode", "bitx_generator_next"):
        assert name in texts[HEADER]
        assert texts[CODE].count(f"\nbitx_status {name}(") == 1, name
