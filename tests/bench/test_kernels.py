"""No kernel costs more than was promised, and README promises what was counted."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.bench.figures import (
    MARKED,
    README,
    REWRITE,
    compiler_version,
    compilers,
    figures_of,
    promised,
)

from bitexport.bench import count as counting
from bitexport.bench.compare import compare
from bitexport.bench.count import count_kernels
from bitexport.bench.table import readme_table
from bitexport.cli import main
from bitexport.paths import runtime_root
from bitexport.targets import Target, find_target

TOLERANCE = 0.02


def test_every_kernel_costs_what_was_promised(target: Target) -> None:
    if (version := compiler_version(target)) != compilers()[target.name]:
        pytest.skip(f"optional: the figures are of GCC {compilers()[target.name]}, not {version}")
    expected = figures_of(each for each in promised() if each.target == target.name)
    found = figures_of(count_kernels([target], (), (), print))
    assert list(found) == list(expected), REWRITE
    moved = {
        key: f"{expected[key]} became {found[key]}, {found[key] / expected[key] - 1:+.1%}"
        for key in found
        if abs(found[key] - expected[key]) > TOLERANCE * expected[key]
    }
    assert not moved, f"a regression to mend, or a progress to record: {REWRITE}"


def test_a_count_repeats_to_the_instruction() -> None:
    once, again = (
        count_kernels([find_target("arm64")], ["gemv_s32_s8_p2r"], ["neon"], print)
        for _ in range(2)
    )
    assert once == again
    assert [(each.n, each.k) for each in once] == [(2560, 2560), (6912, 2560), (2560, 6912)]


def test_readme_shows_the_figures() -> None:
    marked = MARKED.search(README.read_text(encoding="utf-8"))
    assert marked, "README has lost the marks around its table of kernels"
    assert marked[2] == readme_table(compare(promised())) + "\n", REWRITE


def test_every_integer_matrix_kernel_is_counted() -> None:
    program = (runtime_root() / "runner/bench_kernels.c").read_text(encoding="utf-8")
    kernels = (runtime_root() / "kernels").glob("gem[mv]_s32_*")
    folders = {path.name for path in kernels if path.is_dir()}
    assert set(re.findall(r'^    \{"(\w+)",', program, re.MULTILINE)) == folders


def test_the_command_prints_facts(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    words = ["bench", "kernels", "--target", "armv7", "--isa", "neon", "--json"]
    said = CliRunner().invoke(main, [*words, "--kernel", "gemv_s32_s8_p2r", "--html", str(page)])
    assert said.exit_code == 0, said.output
    (line,) = json.loads(said.stdout)
    assert (line["target"], line["isa"], line["vectors"]) == ("armv7", "neon", 1)
    assert set(line["instructions_per_64_weights"]) == {"2560x2560", "6912x2560", "2560x6912"}
    assert line["bar"] == 17
    assert "<svg" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("absent", ["gcc", "qemu-x86_64"])
def test_a_missing_tool_is_one_sentence(absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == absent else which(name))
    said = CliRunner().invoke(main, ["bench", "kernels", "--target", "host", "--isa", "avx2"])
    assert said.exit_code == 5
    assert f"error: `{absent}` is not installed" in said.stderr
    assert "hint: on Debian or Ubuntu" in said.stderr


def test_a_program_without_names_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MARK", "nobody")
    words = ["--target", "host", "--isa", "avx2", "--kernel", "gemv_s32_s8_s8"]
    said = CliRunner().invoke(main, ["bench", "kernels", *words])
    assert said.exit_code == 1
    assert "printed 3 lines for 0 marks" in said.stderr
