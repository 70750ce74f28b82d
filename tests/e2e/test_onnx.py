"""A network from an ONNX file: the original's numbers, and the same bits on every core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.networks import DATA, write_pictures, write_rows
from tests.qonnx_oracle import Oracle

from bitexport.emit.manifest import Bundle
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.targets import Target, find_target
from bitexport.toolchain.compile import Library, build_runner
from bitexport.verify.cores import Machine
from bitexport.verify.expected import load_reference
from bitexport.verify.inputs import fixed_inputs
from bitexport.verify.networks import compute_network, run_network, verify_network

Floats = NDArray[np.float32]

TFC = ("TFC_1W1A", "TFC_1W2A", "TFC_2W2A")
RIGHT = {"TFC_1W1A": 913, "TFC_1W2A": 938, "TFC_2W2A": 966}
"""Of the first 1000 test images of MNIST."""
SOURCE = Wanted(compile_library=False)


def source(name: str, folder: Path) -> Path:
    """Return the ONNX file of a network."""
    written = {"rows": write_rows, "pictures": write_pictures}
    return written[name](folder / f"{name}.onnx") if name in written else DATA / f"{name}.onnx"


def built(name: str, target: Target, folder: Path) -> Bundle:
    """Build a network; the library is the one that all tests share."""
    return build_bundle(source(name, folder), target, Options(), folder / "out", SOURCE)


def machine_of(bundle: Bundle, target: Target, library: Library, folder: Path) -> Machine:
    """Link the runner for a bundle."""
    program = build_runner(target, library, bundle.path, folder / "runner")
    return Machine(target, program, bundle.data)


@pytest.mark.parametrize("name", ["rows", "pictures", *TFC])
def test_every_core_returns_the_bits_of_the_reference(
    name: str, target: Target, libraries: Callable[[Target], Library], tmp_path: Path
) -> None:
    bundle = built(name, target, tmp_path)
    model = load_reference(bundle.graph)
    expected = compute_network(model, fixed_inputs(model))
    device = machine_of(bundle, target, libraries(target), tmp_path)
    quick = name in TFC or target.name not in ("host", "cortex-m4")
    for core in target.cores:
        result = verify_network(device, core, expected, lambda _: None, quick=quick, self_test=True)
        assert result.passed, (core, result.failure, result.problem)
        assert result.runs >= 2  # op by op, and fused


@pytest.mark.parametrize(("name", "shape"), [("rows", (2, 25)), ("pictures", (3, 7, 9))])
def test_every_output_is_near_the_original(
    name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    bundle = built(name, find_target("host"), tmp_path)
    model = load_reference(bundle.graph)
    x = np.random.default_rng(3).standard_normal((20, *shape)).astype(np.float32)
    given = x.reshape(20, -1) if name == "rows" else x
    found = compute_network(model, {"x": given}).results
    expected = Oracle(source(name, tmp_path)).all_outputs(x=x)
    assert set(found) == set(expected) == {"y", "z"}
    for output, wanted in expected.items():
        wide = np.abs(wanted).max()
        np.testing.assert_allclose(found[output], wanted.reshape(20, -1), atol=2e-4 * wide)


def mnist() -> tuple[Floats, NDArray[np.uint8]]:
    """Return 1000 images, from 0 to 1, and their labels."""
    with np.load(DATA / "mnist-1000.npz") as stored:
        images: Floats = stored["image"].astype(np.float32) / np.float32(255)
        return images, stored["label"]


@pytest.mark.parametrize("name", TFC)
def test_a_trained_network_has_the_classes_of_its_original_on_every_image(
    name: str, libraries: Callable[[Target], Library], tmp_path: Path
) -> None:
    target = find_target("host")
    bundle = built(name, target, tmp_path)
    model = load_reference(bundle.graph)
    images, labels = mnist()
    given = {model.graph.inputs[0].name: images.reshape(len(images), -1)}
    (scores,) = model.run_network(given).values()
    original = Oracle(source(name, tmp_path))
    expected = original.run(**{original.inputs[0]: images[:, None]})
    np.testing.assert_array_equal(scores.argmax(axis=1), expected.argmax(axis=1))
    assert int((scores.argmax(axis=1) == labels).sum()) == RIGHT[name]
    device = machine_of(bundle, target, libraries(target), tmp_path)
    observed = run_network(device, "native", given, [], 16)
    assert list(observed.results.values()) == [scores.tobytes()]
