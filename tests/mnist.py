"""All test images of MNIST through the networks in data/networks: reference, C and original.

Run from the repository: python tests/mnist.py t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.networks import DATA
from tests.qonnx_oracle import Oracle

from bitexport.models.parts.options import Options
from bitexport.package.bundle import build_bundle
from bitexport.runtime.networks import run_samples
from bitexport.targets import find_target
from bitexport.verify.expected import load_reference


@click.command()
@click.argument("images", type=click.Path(path_type=Path))
@click.argument("labels", type=click.Path(path_type=Path))
def main(images: Path, labels: Path) -> None:
    """Print how many of IMAGES each network gets right, and how many it takes for another class."""
    pixels = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16)
    x = pixels.reshape(-1, 1, 28, 28).astype(np.float32) / np.float32(255)
    right = np.frombuffer(gzip.decompress(labels.read_bytes()), np.uint8, offset=8)
    for path in sorted(DATA.glob("TFC_*.onnx")):
        original = Oracle(path)
        expected = original.run(**{original.inputs[0]: x}).argmax(axis=1)
        with tempfile.TemporaryDirectory() as folder:
            bundle = build_bundle(path, find_target("host"), Options(), Path(folder) / "out")
            model = load_reference(bundle.graph)
            given = {model.graph.inputs[0].name: x.reshape(len(x), -1)}
            (reference,) = model.run_network(given).values()
            (in_c,) = run_samples(bundle, model, given, None).values()
        classes = [scores.argmax(axis=1) for scores in (reference, in_c)]
        counts = [int((each == right).sum()) for each in classes]
        others = sum(int((each != expected).sum()) for each in classes)
        click.echo(
            f"{path.stem}  {counts[0]} of {len(right)} right in the reference, {counts[1]} in C; "
            f"{others} of another class than the original"
        )


if __name__ == "__main__":
    main()
