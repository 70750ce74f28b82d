"""The digits: what training printed, the original's classes, the same numbers on a board."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tests.qonnx_oracle import Oracle

from bitexport.cli import main
from bitexport.verify.expected import load_reference
from bitexport.verify.inputs import read_inputs
from bitexport.verify.networks import compute_network

DIGITS = Path(__file__).parents[2] / "samples" / "digits"
HELD_OUT = DIGITS / "held-out.npz"
RIGHT, ALL = 351, 360
SOME = 12


def said(*words: object) -> Result:
    """Return what `bitexport` answers to these words, which it understands."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the sample, built for a board."""
    folder = tmp_path_factory.mktemp("digits") / "out"
    said("build", DIGITS / "digits.onnx", "--target", "cortex-m4", "-o", folder)
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of some held-out digits."""
    path = tmp_path_factory.mktemp("few") / "few.npy"
    with np.load(HELD_OUT) as stored:
        np.save(path, stored["image"][:SOME])
    return path


def test_every_held_out_digit_has_the_class_of_the_original(bundle: Path) -> None:
    model = load_reference(bundle / "model.onnx")
    (scores,) = compute_network(model, read_inputs(HELD_OUT, model)).results.values()
    with np.load(HELD_OUT) as stored:
        x, labels = stored["image"].astype(np.float32), stored["label"]
    expected = Oracle(DIGITS / "digits.onnx").run(image=x)
    np.testing.assert_array_equal(scores.argmax(axis=1), expected.argmax(axis=1))
    assert (int((scores.argmax(axis=1) == labels).sum()), len(labels)) == (RIGHT, ALL)
    assert f"held out: {RIGHT / ALL:.2%} of {ALL}" in (DIGITS / "train.log").read_text()
    assert f"{RIGHT} right" in (DIGITS / "README.md").read_text().replace("\n", " ")


def test_a_board_says_what_this_machine_says(bundle: Path, few: Path) -> None:
    here = said("run", bundle, "--input", few).stdout
    board = ("run", bundle, "--input", few, "--core", "mps2-an386")
    there = said(*board).stdout
    assert here == there
    with np.load(HELD_OUT) as stored:
        labels = stored["label"][:SOME]
    largest = [int(line.split()[1]) for line in here.splitlines()]
    assert sum(one == label for one, label in zip(largest, labels, strict=True)) == SOME - 1
    events = [json.loads(line) for line in said(*board, "--json").stdout.splitlines()]
    assert [event["largest"] for event in events] == largest
    assert all(len(event["values"]) == 10 for event in events)


def test_every_op_is_equal_on_the_board(bundle: Path, few: Path) -> None:
    report = json.loads(said("verify", bundle, "--input", few, "--json").stdout)
    assert (report["samples"], report["cores"][0]["passed"]) == (SOME, True)
    assert report["cores"][0]["seen"] == ["scalar", "dsp"]


def test_the_library_for_a_board_holds_the_ops_of_the_network_alone(bundle: Path) -> None:
    kept = (bundle / "sources.cmake").read_text()
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["model"]["family"] == "network"
    assert "BITX_OPS=0x" in kept
