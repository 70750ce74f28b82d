"""`bench model --core` counts a token on an emulated core, by step, to the instruction."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.tiny_checkpoint import write_checkpoint

from bitexport.bench import emulated
from bitexport.bench.emulated import BEFORE, steps_of, ternary_weights
from bitexport.cli import main
from bitexport.emit.manifest import Bundle
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import find_target

CORES = {"arm64": "cortex-a53", "armv7": "cortex-a7", "cortex-m4": "mps2-an386", "host": "native"}


@pytest.fixture(scope="module", params=CORES)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle for each target in turn; only to be read."""
    folder = tmp_path_factory.mktemp("emulated")
    checkpoint = write_checkpoint(folder / "checkpoint")
    wanted = Wanted(self_test=False)
    return build_bundle(
        checkpoint.path, find_target(request.param), Options(), folder / "bundle", wanted
    )


def bench(bundle: Bundle, *words: str) -> Result:
    """Run `bench model` on the core of the bundle's target."""
    core = CORES[bundle.target_name]
    return CliRunner().invoke(main, ["bench", "model", str(bundle.path), "--core", core, *words])


def counted(bundle: Bundle) -> dict[str, Any]:
    """Return what it prints of contexts 0 and 4."""
    said = bench(bundle, "--json", "--context", "4", "--context", "0")
    assert said.exit_code == 0, said.output
    (count,) = json.loads(said.stdout)
    assert isinstance(count, dict)
    return count


def test_a_token_is_the_sum_of_its_steps_and_repeats(bundle: Bundle) -> None:
    count = counted(bundle)
    target = find_target(bundle.target_name)
    assert (count["target"], count["core"]) == (target.name, CORES[target.name])
    assert count["isa"] in target.expected_isas(count["core"])[1:]
    assert count["ternary_weights"] == ternary_weights(bundle) > 0
    first, fourth = count["tokens"]
    assert (first["context"], fourth["context"]) == (0, 4)
    for token in (first, fourth):
        assert sum(token["steps"].values()) == token["instructions"]
        assert {"ternary_rescale", "norm_quantize", "attend", BEFORE} <= set(token["steps"])
        assert list(token["steps"].values()) == sorted(token["steps"].values(), reverse=True)
        cost = token["instructions"] / count["ternary_weights"]
        assert token["per_ternary_weight"] == pytest.approx(cost)
    assert fourth["steps"]["attend"] > first["steps"]["attend"]
    assert fourth["steps"]["rope"] == first["steps"]["rope"]
    assert counted(bundle) == count


def test_the_table_has_a_row_for_each_step(bundle: Bundle) -> None:
    said = bench(bundle, "--context", "4")
    assert said.exit_code == 0, said.output
    for word in ("context 4", "per weight", "ternary_rescale", "attend", BEFORE, "in all"):
        assert word in said.stdout


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--context", "100000"], 1, "has no room behind 100000"),
        (["--core", "cortex-z80"], 2, "has no core `cortex-z80`"),
        (["--threads", "2"], 64, "counts instructions of one thread: no --threads"),
    ],
)
def test_what_cannot_be_counted_is_refused(
    bundle: Bundle, words: list[str], status: int, says: str
) -> None:
    said = bench(bundle, *words)
    assert said.exit_code == status, said.output
    assert says in said.stderr
    assert said.stdout == ""


def test_a_program_without_names_is_refused(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulated, "MARK", "nobody")
    said = bench(bundle, "--context", "0")
    assert said.exit_code == 1
    assert "ran 1 tokens and marked 0" in said.stderr


def test_what_a_compiler_adds_to_a_name_is_cut_off() -> None:
    marks = [(10, "bench_mark"), (13, "bitx_op_attend.part.0"), (20, "bitx_fusion_silu_mul"),
             (24, "bitx_op_attend"), (44, "bench_mark")]  # fmt: skip
    assert steps_of(marks) == {"attend": 27, "silu_mul": 4, BEFORE: 3}


def test_a_step_that_only_jumps_keeps_its_name() -> None:
    marks = [
        (10, "bench_mark"), (13, "bitx_fusion_dense_rescale"), (14, "bitx_fusion_ternary_rescale"),
        (40, "bitx_op_add"), (50, "bench_mark"),
    ]  # fmt: skip
    assert steps_of(marks) == {"dense_rescale": 27, "add": 10, BEFORE: 3}
