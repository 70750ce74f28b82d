"""Our arithmetic is the trained model's: measured against transformers' own BitNet."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from samples.families.gguf_file import write_gguf
from tests.families.trained import read_gguf

from bitexport.errors import CheckpointError
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import find_target
from bitexport.verify.expected import load_reference
from bitexport.verify.fidelity import (
    EndToEnd,
    OpAgreement,
    compare_layers,
    compare_logits,
    read_windows,
)  # fmt: skip
from bitexport.verify.oracle import Oracle, open_oracle

# What torch deprecates of itself while it is imported is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SAMPLE = Path(__file__).parents[2] / "samples" / "stories"
STORIES = 120  # fewer, and chance would decide: a code on a tie moves a story's divergence
SOME_STORIES = 30
RELATIVE = 1e-5


@pytest.fixture(scope="module")
def oracles() -> tuple[Oracle, Oracle]:
    return open_oracle(SAMPLE / "model"), open_oracle(SAMPLE / "model", double=True)


def measure(
    options: Options, oracles: tuple[Oracle, Oracle], folder: Path, stories: int
) -> tuple[EndToEnd, list[OpAgreement]]:
    bundle = build_bundle(
        SAMPLE / "model",
        find_target("host"),
        options,
        folder / "out",
        Wanted(compile_library=False),
    )
    model = load_reference(bundle.graph)
    windows = read_windows(SAMPLE / "held-out.txt", bundle)[:stories]
    return compare_logits(model, *oracles, windows), compare_layers(model, oracles[0], windows[0])


@pytest.fixture(scope="module")
def exact(
    oracles: tuple[Oracle, Oracle], tmp_path_factory: pytest.TempPathFactory
) -> tuple[EndToEnd, list[OpAgreement]]:
    """Measure with embedding and KV cache in f32: nothing of ours is rounded further."""
    options = Options(embedding="f32", cache="f32")
    return measure(options, oracles, tmp_path_factory.mktemp("exact"), STORIES)


def test_the_divergence_is_that_of_the_oracles_own_rounding(
    exact: tuple[EndToEnd, list[OpAgreement]],
) -> None:
    whole, _ = exact
    assert whole.floor_kl > 0, "a floor of zero would prove nothing"
    assert whole.mean_kl <= 2 * whole.floor_kl


def test_the_loss_is_the_oracles(exact: tuple[EndToEnd, list[OpAgreement]]) -> None:
    whole, _ = exact
    assert whole.loss_difference < 1e-3
    assert whole.loss < 1.6, "the sample tells stories; a loss like this means it was not read"


def test_each_op_fed_the_oracles_inputs_gives_the_oracles_outputs(
    exact: tuple[EndToEnd, list[OpAgreement]],
) -> None:
    ops = {op.op_type: op for op in exact[1]}
    assert ops.keys() >= {"RmsNorm", "Rescale", "Attend", "Mul", "Add", "DenseMatMulF32"}
    assert all(op.worst_relative <= RELATIVE for op in ops.values())
    sums, codes = ops["TernaryMatMulP2R"], ops["QuantizeRows"]
    assert sums.integers > 0, "nothing was compared"
    assert sums.differing_integers == 0
    # transformers rounds its scale twice, we once: a code on a tie may fall to either side.
    assert codes.largest_step <= 1
    assert codes.differing_integers < codes.integers / 10_000


def test_a_tensor_that_the_oracle_misses_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    metadata, tensors = read_gguf(SAMPLE.parent / "families" / "trilm" / "model.gguf")
    del tensors["blk.1.ffn_norm.weight"]
    write_gguf(path, metadata, tensors)
    with pytest.raises(CheckpointError, match=r"model\.layers\.1\.post_attention_layernorm"):
        open_oracle(path)


def test_the_default_numerics_stay_close(oracles: tuple[Oracle, Oracle], tmp_path: Path) -> None:
    whole, _ = measure(Options(), oracles, tmp_path, SOME_STORIES)
    assert whole.mean_kl < 1e-3
    assert whole.top1_agreement > 0.98
    assert whole.loss_difference < 1e-3


def test_another_scale_would_be_seen(oracles: tuple[Oracle, Oracle], tmp_path: Path) -> None:
    """The measure can fail: a norm that is one percent off is far outside."""
    bundle = build_bundle(
        SAMPLE / "model",
        find_target("host"),
        Options(),
        tmp_path / "out",
        Wanted(compile_library=False),
    )
    model = load_reference(bundle.graph)
    name = "model.layers.0.input_layernorm.weight"
    weights = {**model.graph.weights, name: model.graph.weights[name] * 1.01}
    wrong = type(model)(dataclasses.replace(model.graph, weights=weights))
    windows = read_windows(SAMPLE / "held-out.txt", bundle)[:1]
    assert max(op.worst_relative for op in compare_layers(wrong, oracles[0], windows[0])) > RELATIVE
