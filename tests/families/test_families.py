"""Every family, in every container: builds, verifies bit for bit, and is its own implementation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.families.containers import (
    write_gguf,
    write_gguf_mixed,
    write_masters_f32,
    write_packed_multiply,
    write_unpacked,
)
from tests.families.rows import ROWS, Row
from tests.families.trained import HELD_OUT, SAMPLES, trained

from bitexport.cli import main
from bitexport.emit.manifest import Bundle, open_bundle
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import Target, find_target
from bitexport.toolchain.compile import Library, build_runner
from bitexport.verify.cores import Machine, verify_core
from bitexport.verify.expected import compute_expected, load_reference, self_test_positions
from bitexport.verify.fidelity import compare_logits, read_windows
from bitexport.verify.oracle import open_oracle

# What torch deprecates of itself while it is imported is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FAMILIES = SAMPLES / "families"
STORIES = 8
FEW_STORIES = 3
GENERATED = 12
PROMPT = [1, 403, 407, 261, 378, 432, 383, 286, 261, 376]  # "Once upon a time, there was a little"
ROUNDED_TO_F16 = 0.03
"""How far logits may go apart where one file rounds norms, embedding or scales to float16."""


def run(*words: str) -> str:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 0, result.output
    return result.stdout


ON_A_CORE = {
    "TernaryMatMulP2R", "TernaryMatMulB1R", "GroupMatMulP2R", "GroupMatMulB1R", "GroupMatMulQ4R",
    "GroupMatMulInt16P2R", "GroupMatMulInt16B1R", "GroupMatMulInt16Q4R", "DenseMatMulQ8",
    "DenseMatMulF32", "DenseMatMulF16", "DenseMatMulBf16", "GroupEmbedP2R", "GroupEmbedB1R",
    "GroupEmbedQ4R", "EmbedQ8", "EmbedF32", "EmbedF16", "EmbedBf16", "Rescale", "RescaleInt16",
    "QuantizeRows", "QuantizeRowsInt4", "QuantizeRowsInt16", "QuantizeGroups", "Silu", "Relu",
}  # fmt: skip
"""What the rows that run on an emulated core must hold between them."""


@pytest.fixture(scope="module")
def runners(
    libraries: Callable[[Target], Library], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Target, Bundle], Path]:
    """Return a function that gives the runner of a target, linked once: it takes any model."""
    made: dict[str, Path] = {}

    def link(target: Target, bundle: Bundle) -> Path:
        if target.name not in made:
            program = tmp_path_factory.mktemp("runner") / target.name
            made[target.name] = build_runner(target, libraries(target), bundle.path, program)
        return made[target.name]

    return link


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.name)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Row, Path]:
    """Return each row and its checkpoint."""
    row: Row = request.param
    return row, row.write(row.trained(), tmp_path_factory.mktemp("row") / "checkpoint")


def build(row: Row, checkpoint: Path, target: str) -> Bundle:
    """Build a row, for a target, beside its checkpoint."""
    bundle = checkpoint.parents[checkpoint.is_file()] / target
    if not bundle.exists():
        words = ("--target", target, "-o", str(bundle), "--no-library")
        run("build", str(checkpoint), *words, *row.options)
    return open_bundle(bundle)


def test_it_verifies_bit_for_bit(
    built: tuple[Row, Path], runners: Callable[[Target, Bundle], Path]
) -> None:
    row, checkpoint = built
    for name, core in {"host": "native", **({"arm64": row.core} if row.core else {})}.items():
        bundle, target = build(row, checkpoint, name), find_target(name)
        expected = compute_expected(load_reference(bundle.graph), PROMPT, GENERATED)
        device = Machine(target, runners(target, bundle), bundle.data)
        tested = self_test_positions(bundle.data)
        found = verify_core(device, core, expected, lambda _: None, self_test=tested)
        assert found.passed, (found.failure, found.problem)
        assert set(found.seen) == set(target.expected_isas(core))


def test_it_is_its_own_implementation(built: tuple[Row, Path]) -> None:
    row, checkpoint = built
    bundle = build(row, checkpoint, "host")
    windows = read_windows(HELD_OUT, bundle)[:STORIES]
    oracle, double = open_oracle(checkpoint), open_oracle(checkpoint, double=True)
    found = compare_logits(load_reference(bundle.graph), oracle, double, windows)
    print(f"{row.name}: kl {found.mean_kl:.3g} floor {found.floor_kl:.3g} loss {found.loss:.4f}")
    assert found.oracle_loss < 1.9, "it tells no stories: the checkpoint was written wrongly"
    assert found.mean_kl <= float(row.kl)
    assert found.mean_kl > float(row.kl) / 10, "the table could claim more"


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if "GGUF" in row.container and row.write is not write_gguf_mixed],
    ids=lambda row: row.name,
)
def test_the_oracle_of_a_gguf_is_that_of_the_safetensors(row: Row, tmp_path: Path) -> None:
    write = {
        "stories": write_packed_multiply, "falcon": write_packed_multiply,
        "onebit": write_masters_f32,
    }.get(row.published.model, write_unpacked)  # fmt: skip
    expected = open_oracle(write(row.trained(), tmp_path / "safetensors")).logits(PROMPT)
    found = open_oracle(row.write(row.trained(), tmp_path / "gguf")).logits(PROMPT)
    assert np.abs(found - expected).max() < ROUNDED_TO_F16 * expected.std()


@pytest.mark.parametrize("model", ["trilm", "bonsai-binary", "bonsai-ternary"])
def test_the_default_activations_of_weight_only_models_diverge_least(
    model: str, tmp_path: Path
) -> None:
    checkpoint = write_unpacked(trained(model), tmp_path / "checkpoint")
    oracle = open_oracle(checkpoint)
    found: dict[str, float] = {}
    for kind in (None, "int16", "int8-group", "int8", "int4"):
        bundle = build_bundle(
            checkpoint, find_target("host"), Options(activations=kind),
            tmp_path / str(kind), Wanted(compile_library=False),
        )  # fmt: skip
        windows = read_windows(HELD_OUT, bundle)[:FEW_STORIES]
        reference = load_reference(bundle.graph)
        found[str(kind)] = compare_logits(reference, oracle, oracle, windows).mean_kl
    print(model, found)
    assert found["None"] == found["int16"] < 1e-6
    assert found["int8-group"] > 100 * found["int16"]
    assert found["int8-group"] < found["int8"] < found["int4"] < 0.1


def test_verify_against_takes_the_container_that_was_built(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    write_unpacked(trained("trilm"), checkpoint)
    write_gguf("llama", "TQ2_0")(trained("trilm"), checkpoint)
    run(
        "build", str(checkpoint), "--container", "gguf", "--target", "host",
        "-o", str(tmp_path / "out"), "--no-library",
    )  # fmt: skip
    text = tmp_path / "text"
    stories = HELD_OUT.read_text(encoding="utf-8").split("\n\n")[:FEW_STORIES]
    text.write_text("\n\n".join(stories), encoding="utf-8")
    said = run(
        "verify", str(tmp_path / "out"), "--against", "transformers",
        "--checkpoint", str(checkpoint), "--text", str(text), "--json",
    )  # fmt: skip
    facts = json.loads(said)
    assert facts["logits"]["mean_kl"] < 1e-6
    ops = {op["op_type"]: op for op in facts["ops"]}
    assert ops["RescaleInt16"]["outputs"] == 7 * trained("trilm").config["num_hidden_layers"]
    assert all(op["worst_relative"] < 5e-3 for op in ops.values())


@pytest.mark.parametrize("folder", sorted(FAMILIES.glob("*/")), ids=lambda path: path.name)
def test_a_sample_builds_as_it_lies(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("build", str(folder), "--target", "host", "-o", str(out), "--no-library")
    rows = [row for row in ROWS if row.published.model == folder.name]
    assert open_bundle(out).manifest["model"]["family"] == rows[0].published.reads_as


def test_every_op_runs_on_an_emulated_core(tmp_path: Path) -> None:
    found: set[str] = set()
    for at, row in enumerate(row for row in ROWS if row.core):
        checkpoint = row.write(row.trained(), tmp_path / str(at) / "checkpoint")
        plan = load_reference(build(row, checkpoint, "arm64").graph).plan
        found |= {op_type for _, op_type in plan}
    assert found >= ON_A_CORE, ON_A_CORE - found


def test_it_is_recognised_and_says_what_it_multiplies(built: tuple[Row, Path]) -> None:
    row, checkpoint = built
    said = build(row, checkpoint, "host").manifest["model"]
    assert said["family"] == row.published.reads_as
    assert said["activations"] == row.activations
