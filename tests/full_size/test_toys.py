"""The generated models, in sizes for every day: they build, verify, and hold what they promise."""

from __future__ import annotations

import filecmp
import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.full_size.generate import MODELS, TOYS, generate
from tests.full_size.measure import main, measure, size_of

from bitexport.emit.bitx import TOKENIZER
from bitexport.emit.manifest import Bundle
from bitexport.errors import CheckpointError
from bitexport.layouts import b1r, p2r
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.package.self_test import PROMPT
from bitexport.package.text import EVERY_TEXT, WantedText
from bitexport.targets import find_target
from bitexport_ref.bitx import open_bitx, self_test, tensor_bytes
from bitexport_ref.text.tables import read_tables
from bitexport_ref.text.tokenizer import Tokenizer

GENERATED = {"2b4t": "safetensors", "llama3-8b": "sharded", "bonsai-8b": "gguf"}
FAMILIES = {"2b4t": "bitnet", "llama3-8b": "llama", "bonsai-8b": "qwen3"}


@pytest.fixture(scope="module", params=TOYS)
def name(request: pytest.FixtureRequest) -> str:
    """Return each model in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def checkpoint(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what `build` takes."""
    return generate(TOYS[name], tmp_path_factory.mktemp("toy") / name)


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle, source only; only to be read."""
    output = tmp_path_factory.mktemp("toy") / "bundle"
    return build(checkpoint, output)


def build(checkpoint: Path, output: Path, text: WantedText = EVERY_TEXT) -> Bundle:
    """Build a bundle, source only."""
    wanted = Wanted(compile_library=False, text=text)
    return build_bundle(checkpoint, find_target("host"), Options(), output, wanted)


def test_every_layout_of_the_issue_is_generated(name: str, bundle: Bundle) -> None:
    model = bundle.manifest["model"]
    assert (model["name"], model["family"]) == (TOYS[name].name, FAMILIES[name])
    assert sum("safetensors" in file for file in bundle.manifest["checkpoint"]) == {
        "2b4t": 1, "llama3-8b": 3, "bonsai-8b": 0,
    }[name]  # fmt: skip


def test_the_same_model_is_the_same_bytes(name: str, checkpoint: Path, tmp_path: Path) -> None:
    again = generate(TOYS[name], tmp_path / name)
    first, second = (path if path.is_dir() else path.parent for path in (checkpoint, again))
    names = sorted(path.name for path in first.iterdir())
    assert filecmp.cmpfiles(first, second, names, shallow=False) == (names, [], [])


def test_a_toy_costs_what_the_table_says(name: str, tmp_path: Path) -> None:
    built, (verified,) = measure(TOYS[name], ["native"], tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert verified.passed
    assert verified.positions == 4
    assert 0 < built.seconds["packing"] < built.seconds["build"]
    assert 0 < built.peak_before_self_test <= built.peak
    assert built.packed < built.data < built.bundle


def test_the_script_prints_a_row_for_each_model(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main, ["2b4t", "--toy", "--core", "native", "--folder", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    costs, runs = done.stdout.split("\n\n")
    assert costs.splitlines()[2].startswith("| 2b4t | 0.000 GB |")
    assert runs.splitlines()[2].startswith("| 2b4t | native | yes | 4 |")
    assert list(tmp_path.iterdir()) == []


def test_the_script_times_the_reference(tmp_path: Path) -> None:
    words = ["2b4t", "--toy", "--reference", "--folder", str(tmp_path)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[2].startswith("| 2b4t | 64 |")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_stored_twice(name: str, bundle: Bundle) -> None:
    """No tensor in the file is another one again, and no other file of the bundle holds weights."""
    bitx = open_bitx(bundle.data)
    contents = Counter(
        hashlib.sha256(tensor_bytes(bitx, tensor)).hexdigest()
        for tensor in bitx.tensors
        if "norm" not in tensor.name and not tensor.name.endswith("weight_scale")
    )
    assert len(contents) > 2 + 7 * TOYS[name].layers
    assert set(contents.values()) == {1}
    names = [tensor.name for tensor in bitx.tensors]
    assert len(names) == len(set(names))
    largest = max(bitx.tensors, key=lambda tensor: tensor.size)
    some = bytes(tensor_bytes(bitx, largest))[:256]
    holders = [p.name for p in bundle.path.rglob("*") if p.is_file() and some in p.read_bytes()]
    assert holders == ["model.bitx"]


def test_the_prompt_is_text_in_the_tokens_of_the_model(name: str, bundle: Bundle) -> None:
    """Whether they are those of a tokenizer.json beside the weights or of a GGUF's metadata."""
    bitx = open_bitx(bundle.data)
    tested = self_test(bitx)
    section = next(each for each in bitx.sections if each.id == TOKENIZER)
    table = bytes(bitx.blob[section.offset : section.end])
    tokenizer = Tokenizer(read_tables(table, TOYS[name].vocabulary))
    assert tested is not None
    assert len(tested.prompt) > 1
    assert tested.prompt == tuple(tokenizer.encode(PROMPT)[: len(tested.prompt)])
    assert (bundle.path / "tokenizer.json").is_file() == (GENERATED[name] != "gguf")


def test_a_gguf_without_merges_is_refused_and_built_without_text(tmp_path: Path) -> None:
    """The prompt is then BOS, and 7919 i modulo the vocabulary."""
    path = generate(TOYS["bonsai-8b"], tmp_path / "toy")
    path.write_bytes(path.read_bytes().replace(b"tokenizer.ggml.merges", b"tokenizer.ggml.merged"))
    with pytest.raises(CheckpointError, match=r"has no `tokenizer\.ggml\.merges`") as refused:
        build(path, tmp_path / "refused")
    assert "--text none" in str(refused.value.hint)
    assert not (tmp_path / "refused").exists()
    bundle = build(path, tmp_path / "built", text=WantedText(depth="none"))
    tested = self_test(open_bitx(bundle.data))
    vocabulary = TOYS["bonsai-8b"].vocabulary
    assert tested is not None
    assert tested.prompt == (vocabulary - 293, *(7919 * i % vocabulary for i in range(1, 9)))


def test_the_packed_part_of_2b4t_is_below_half_a_gigabyte() -> None:
    """Without writing it: two bits a weight, and padding."""
    matrices = MODELS["2b4t"].matrices()
    assert len(matrices) == 7 * 30
    assert sum(p2r.packed_bytes(n, k) for n, k in matrices.values()) <= 530_000_000


def test_one_bit_weights_take_one_bit(name: str, bundle: Bundle) -> None:
    model = TOYS[name]
    layout = b1r if name == "bonsai-8b" else p2r
    stored = {tensor.name: tensor for tensor in open_bitx(bundle.data).tensors}
    for matrix, (n, k) in model.matrices().items():
        assert stored[f"{matrix}.weight"].size == layout.packed_bytes(n, k)


def test_the_manifest_says_what_the_self_test_runs(bundle: Bundle) -> None:
    tested = self_test(open_bitx(bundle.data))
    assert tested is not None
    said = json.loads((bundle.path / "manifest.json").read_text(encoding="utf-8"))["self_test"]
    assert said == {
        "prompt_tokens": len(tested.prompt), "generated_tokens": len(tested.generated),
    }  # fmt: skip
    assert size_of(bundle.data) == bundle.manifest["memory"]["data_bytes"]
