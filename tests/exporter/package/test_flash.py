"""Without an operating system a library holds the ops of its model, and little else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from tests.tiny_checkpoint import Checkpoint

from bitexport.emit.manifest import Bundle
from bitexport.errors import RunError
from bitexport.models.parts.options import Options, TernaryLayout
from bitexport.package.bundle import Wanted, build_bundle, kept_code
from bitexport.passes.plan import Plan
from bitexport.paths import runtime_root
from bitexport.targets import find_target
from bitexport.toolchain.compile import ARCHIVE, build_library, build_runner
from bitexport.toolchain.emulate import run
from bitexport.toolchain.programs import find_program, run_tool
from bitexport_ref.bitx import open_bitx

TARGET = find_target("cortex-m4")
MOST_BYTES = 24 * 1024
TRITS = get_args(TernaryLayout)
DECLARED = re.compile(r"^\w[\w *]*\b(bitx_\w+)\(", re.MULTILINE)


@pytest.fixture(scope="module", params=["p2r", "p16"])
def bundle(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny: Checkpoint
) -> Bundle:
    """Return a bundle with its library, in each layout that a board may get."""
    output = tmp_path_factory.mktemp("flash") / "bundle"
    return build_bundle(tiny.path, TARGET, Options(layout=request.param), output)


@pytest.fixture(scope="module")
def linked(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a program of all functions of bitexport.h and of what they need, and nothing else."""
    header = (runtime_root() / "include" / "bitexport.h").read_text(encoding="utf-8")
    functions = set(DECLARED.findall(header))
    assert "bitx_run" in functions
    output = tmp_path_factory.mktemp("linked") / "program"
    command = [
        *(find_program(TARGET.compiler, TARGET), *TARGET.flags, *TARGET.link),
        *("-Wl,--entry=bitx_run", "-Wl,--unresolved-symbols=ignore-all"),
        *(f"-Wl,--undefined={name}" for name in sorted(functions)),
        *(str(bundle.path / "lib" / TARGET.name / ARCHIVE), "-o", str(output)),
    ]
    run_tool(command, folder=output.parent, doing="linking every function of bitexport.h")
    return output


def words_of(program: str, path: Path) -> list[list[str]]:
    """Return what a tool for the target prints about a program, by line and word."""
    command = [find_program(f"{TARGET.triple}-{program}", TARGET), str(path)]
    done = run_tool(command, folder=path.parent, doing=program)
    return [line.split() for line in done.stdout.splitlines()]


def test_the_code_for_one_model_is_small(linked: Path) -> None:
    _, (text, data, *_) = words_of("size", linked)
    assert 0 < int(text) + int(data) <= MOST_BYTES


def test_a_program_links_the_kernels_of_its_layout_and_no_other(
    bundle: Bundle, linked: Path
) -> None:
    names = {line[-1] for line in words_of("nm", linked)}
    packed = {layout for layout in TRITS if f"bitx_gemv_s32_s8_{layout}_scalar" in names}
    assert packed == {bundle.manifest["layout"]}


def test_a_program_links_the_ops_of_the_plan_and_no_other(bundle: Bundle, linked: Path) -> None:
    names = {line[-1] for line in words_of("nm", linked)}
    ops = {f"bitx_op_{op.code.name.lower()}" for op in open_bitx(bundle.data).ops}
    assert {name for name in names if name.startswith("bitx_op_")} == ops


def test_a_program_links_no_kernel_of_a_cache_that_its_model_has_not(linked: Path) -> None:
    names = {line[-1] for line in words_of("nm", linked)}
    assert "bitx_gevm_f32_f32_f16_scalar" in names
    assert not [name for name in names if name.endswith("_f32_f32_s8_scalar")]


def test_a_model_with_another_op_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    library = build_library(TARGET, bundle.path, tmp_path, ["BITX_OPS=0x2u"])
    program = build_runner(TARGET, library, bundle.path, tmp_path / "runner")
    with pytest.raises(RunError) as caught:
        run(TARGET, "mps2-an386", program, ["model.bitx", "--self-test"], timeout=60)
    assert "rule 17" in caught.value.completed.stdout


def test_a_model_in_another_layout_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    library = build_library(TARGET, bundle.path, tmp_path, ["BITX_LAYOUTS=0x1u"])
    program = build_runner(TARGET, library, bundle.path, tmp_path / "runner")
    with pytest.raises(RunError) as caught:
        run(TARGET, "mps2-an386", program, ["model.bitx", "--self-test"], timeout=60)
    assert "rule 10" in caught.value.completed.stdout


def test_no_op_is_no_bit() -> None:
    nothing = ("BITX_OPS=0x0u", "BITX_FUSIONS=0x0u", "BITX_LAYOUTS=0x0u")
    assert kept_code(Plan((), (), ()), {}) == nothing


def test_cmake_is_told_the_same(bundle: Bundle) -> None:
    said = (bundle.path / "sources.cmake").read_text(encoding="utf-8")
    kept = sum(1 << code for code in {op.code for op in open_bitx(bundle.data).ops})
    assert f"\n    BITX_OPS={kept:#x}u" in said


def test_with_an_operating_system_every_op_is_there(tiny: Checkpoint, tmp_path: Path) -> None:
    only_source = Wanted(compile_library=False)
    made = build_bundle(tiny.path, find_target("arm64"), Options(), tmp_path / "out", only_source)
    assert "BITX_OPS" not in (made.path / "sources.cmake").read_text(encoding="utf-8")
