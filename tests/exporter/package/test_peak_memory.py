"""Peak memory does not grow with the model: weights pass through in blocks."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from tests.tiny_checkpoint import (
    Shape,
    Stored,
    config_of,
    stored_floats,
    write_json,
    write_safetensors,
    write_tokenizer,
)

MEGABYTE = 1 << 20
SMALL = Shape(hidden=1024, inner=4096, layers=4, heads=8, kv_heads=8, vocabulary=4096)
LARGE = {  # four times the weights, in two ways
    "deeper": dataclasses.replace(SMALL, layers=16, vocabulary=16384),
    "wider": dataclasses.replace(SMALL, inner=20480, vocabulary=16384),
}
# Packed weights held somewhere would add 48 MB, one matrix held as trits 16 MB, the embedding
# 24 MB.  What may grow is a record for each op and value: 4 MB were seen for twelve layers.
MOST_GROWTH = 12 * MEGABYTE

# The self-test is part of it: the reference reads the same file in blocks, and holds what it has
# unpacked only where that is little.
CHILD = """
import re, sys
from pathlib import Path
from bitexport.models.parts.options import Options
from bitexport.package import bundle
from bitexport.targets import find_target

bundle.build_bundle(
    Path(sys.argv[1]), find_target("host"), Options(), Path(sys.argv[2]),
    bundle.Wanted(compile_library=False),
)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def write_large_checkpoint(folder: Path, shape: Shape) -> None:
    """Write a checkpoint without remembering its numbers; every matrix has the same bytes."""
    rng = np.random.default_rng(8)
    sound = [b for b in range(256) if all(b >> shift & 3 != 3 for shift in (0, 2, 4, 6))]
    some = np.array(sound, np.uint8)[rng.integers(0, len(sound), 5 * MEGABYTE)].tobytes()
    embedding = rng.standard_normal((shape.vocabulary, shape.hidden))
    tensors = {"model.embed_tokens.weight": stored_floats(embedding, "BF16")}
    for name, columns in shape.norms().items():
        tensors[f"{name}.weight"] = stored_floats(np.ones(columns), "BF16")
    for name, (n, k) in shape.matrices().items():
        tensors[f"{name}.weight"] = Stored("U8", (n // 4, k), some[: n * k // 4])
        tensors[f"{name}.weight_scale"] = stored_floats(np.array([0.05]), "BF16")
    folder.mkdir()
    write_json(folder / "config.json", config_of(shape))
    write_tokenizer(folder / "tokenizer.json", 96)
    write_safetensors(folder / "model.safetensors", tensors)


def peak_of_a_build(shape: Shape) -> int:
    """Return the most memory, in bytes, that the process of a build had at one time."""
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint, output = Path(scratch) / "model", Path(scratch) / "out"
        write_large_checkpoint(checkpoint, shape)
        words = [sys.executable, "-c", CHILD, str(checkpoint), str(output)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        weights = sum(n * k // 4 for n, k in shape.matrices().values())
        assert (output / "model.bitx").stat().st_size > weights >= 16 * MEGABYTE
    return 1024 * int(done.stdout)


@pytest.fixture(scope="module")
def peak_of_the_small_one() -> int:
    """Return the memory that the small model is built in."""
    return peak_of_a_build(SMALL)


@pytest.mark.parametrize("way", LARGE)
def test_four_times_the_weights_are_built_in_the_same_memory(
    way: str, peak_of_the_small_one: int
) -> None:
    assert peak_of_a_build(LARGE[way]) - peak_of_the_small_one < MOST_GROWTH
